"""Arbitrary input gets an answer and stops nothing."""

import json
from datetime import timedelta
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from bridge.api.handlers import Handlers
from bridge.domain.errors import Misconfigured
from bridge.domain.ids import Kind, OperationRef
from bridge.domain.retry import parse_retry_after
from bridge.domain.upstream import LONGEST_NAMED_STOP, Reply, Throttled, read
from bridge.settings import Settings, read_settings
from tests.proof.fuzz_strategies import OTHER, VICTIM, answers, bodies
from tests.support.harness import ENVIRONMENT, NOON, harness
from tests.support.http import Client


@given(bodies)
def test_any_registration_is_accepted_or_rejected(body: dict[str, object]) -> None:
    """The answer has Azure's error shape, and only accepted registrations leave rows."""
    bridge = harness()

    answer = Client.of(bridge).register(json.dumps(body).encode())

    assert answer.status in (201, 400)
    assert bool(bridge.memory.rows()) == (answer.status == 201)
    assert answer.status == 201 or answer.error["code"]


@given(st.integers(100, 599) | st.just(200), answers, st.sampled_from(Kind))
def test_any_body_of_the_upstream_is_handled(status: int, body: bytes, kind: Kind) -> None:
    """Other operations continue, also the one with the id of a job."""
    bridge = harness()
    bridge.register(VICTIM, kind=kind)
    bridge.register(OTHER)
    bridge.upstream.script(VICTIM, Reply(status=status, body=body), kind=kind)
    bridge.upstream.script(OTHER, "Succeeded")

    for _ in range(40):
        bridge.sweep()
        bridge.clock.advance(10)

    assert {ref.id for ref in bridge.upstream.asked} == {VICTIM, OTHER}
    assert bridge.aggregate(OTHER).operation.record.finished_at is not None or status in (401, 403, 429)


@given(st.text(max_size=40) | st.sampled_from(["9" * 400, "-1", "Wed, 21 Oct 9999 07:28:00 GMT", "0", "1e9", "²"]))
def test_any_retry_after_is_a_wait_within_bounds_or_none(text: str) -> None:
    """Applies to receivers and to the upstream."""
    wait = parse_retry_after(text, NOON)
    result = read(Reply(status=429, retry_after=text), OperationRef("default", VICTIM), NOON)

    assert wait is None or wait >= timedelta(0)
    assert isinstance(result, Throttled)
    assert result.wait is None or result.wait <= LONGEST_NAMED_STOP


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=60))
def test_any_cursor_of_a_client_is_answered(text: str) -> None:
    """The answer is a page or a 400."""
    answer = Client.of(harness()).call(Handlers.list_registrations, f"/registrations?{urlencode({'cursor': text})}")

    assert answer.status in (200, 400)


@given(
    st.dictionaries(st.sampled_from(sorted(str(f.alias) for f in Settings.model_fields.values() if f.alias)), st.text())
)
def test_any_setting_is_read_or_rejected_by_name_without_its_value(environment: dict[str, str]) -> None:
    """A value can be a secret."""
    marked = {name: f"{value}s3cr3t" for name, value in environment.items()}
    reported: dict[str, str] = {}
    try:
        read_settings({**ENVIRONMENT, **marked})
    except Misconfigured as error:
        reported = error.problems

    assert "s3cr3t" not in str(reported)
    assert set(reported) <= {*marked, "BRIDGE_SOURCES", "AzureWebJobsStorage", "SPEECH_KEY"}
