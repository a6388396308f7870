"""The limit of an owner's waiting registrations: counted by sweeps, read once a minute, answered with 429."""

from dataclasses import replace

import pytest

from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.registration import State
from bridge.services.registrations import Created, Existing, Registered, TooManyWaiting
from bridge.settings import read_settings
from bridge.storage.table import Transaction, Upsert
from tests.support.harness import ENVIRONMENT, Harness, harness
from tests.support.http import Client

HOOK = "https://receiver.example.com/hook"
ENTRA = {
    "BRIDGE_AUTH": "entra",
    "BRIDGE_AUTH_TENANT": "11111111-2222-3333-4444-555555555555",
    "BRIDGE_AUTH_AUDIENCE": "api://bridge",
}
SEVEN = {"BRIDGE_MAX_WAITING_PER_OWNER": "7"}


def register(bridge: Harness, operation_id: str, owner: str = "one") -> Registered:
    request = bridge.request(operation_id)
    ref = RegistrationRef.of(OperationRef("default", operation_id), owner=owner, callback_url=request.callback_url)
    return bridge.registrations.register(replace(request, ref=ref, owner=owner))


def counted(bridge: Harness) -> None:
    """Let a minute pass, with a count by a sweep and a read by an instance."""
    bridge.sweep()
    bridge.clock.advance(60)
    bridge.sweep()
    bridge.clock.advance(60)


@pytest.fixture
def limited() -> Harness:
    bridge = harness(BRIDGE_MAX_WAITING_PER_OWNER="5", SPEECH_REQUESTS_PER_SECOND="0.1")
    for number in range(5):
        register(bridge, f"operation-{number}")
    return bridge


def test_only_an_owner_at_the_limit_is_rejected(limited: Harness) -> None:
    limited.restart(BRIDGE_MAX_WAITING_PER_OWNER="5", SPEECH_REQUESTS_PER_SECOND="0.1")
    counted(limited)

    assert register(limited, "another") == TooManyWaiting(5)
    assert isinstance(register(limited, "another", owner="two"), Created)


def test_an_instance_counts_its_own_new_registrations(limited: Harness) -> None:
    """No sweep has counted yet."""
    assert register(limited, "another") == TooManyWaiting(5)


def test_an_owner_may_register_again_once_some_have_ended(limited: Harness) -> None:
    counted(limited)
    for number in range(3):
        limited.upstream.script(f"operation-{number}", "Succeeded")
    for _ in range(60):
        limited.sweep()
        limited.clock.advance(10)

    assert isinstance(register(limited, "another"), Created)


def test_the_same_registration_is_found_at_the_limit(limited: Harness) -> None:
    counted(limited)

    assert isinstance(register(limited, "operation-1"), Existing)


def test_an_operation_that_has_ended_is_delivered_at_the_limit(limited: Harness) -> None:
    """The registration does not wait."""
    limited.upstream.script("ended", "Succeeded")
    register(limited, "ended", owner="two")
    for _ in range(20):
        limited.sweep()
        limited.clock.advance(10)
    counted(limited)

    result = register(limited, "ended")

    assert isinstance(result, Created)
    assert result.registration.state is State.PENDING


def test_the_limit_costs_one_call_a_minute(limited: Harness) -> None:
    counted(limited)
    limited.table.taken()
    for number in range(10):
        register(limited, f"more-{number}", owner="two")
    first = limited.table.taken()
    for number in range(4):
        register(limited, f"again-{number}", owner="three")

    assert first["get"] == 1
    assert limited.table.taken() == {"commit": 4}


def test_without_a_limit_nothing_is_counted_or_read() -> None:
    bridge = harness()
    for number in range(20):
        register(bridge, f"operation-{number}")
    assert bridge.table.taken() == {"commit": 20}
    counted(bridge)

    assert bridge.memory.rows("waiting") == []


def test_few_due_rows_are_not_counted() -> None:
    """The limit cannot be reached, so the sweep has no extra cost."""
    bridge = harness(BRIDGE_MAX_WAITING_PER_OWNER="10000")
    for number in range(20):
        register(bridge, f"operation-{number}")
    bridge.sweep()
    bridge.table.taken()
    bridge.clock.advance(60)

    bridge.sweep()

    assert bridge.table.taken()["range"] == 2 * 8 + 1 + 1  # due rows, sources, and the check of due rows


def test_an_unreadable_row_limits_no_owner(limited: Harness) -> None:
    limited.restart(BRIDGE_MAX_WAITING_PER_OWNER="5")
    for text in ("[]", "nonsense", '{"one": "many"}'):
        limited.memory.commit(Transaction("waiting", (Upsert("owners", {"v": 1, "owners": text}),)))
        limited.clock.advance(61)

        assert isinstance(register(limited, f"another-{len(text)}"), Created)


def test_an_owner_at_the_limit_gets_429_with_a_time_to_retry() -> None:
    bridge = harness(BRIDGE_MAX_WAITING_PER_OWNER="1")
    client = Client.of(bridge)
    client.register({"operationId": "operation-1", "callbackUrl": HOOK})

    refused = client.register({"operationId": "operation-2", "callbackUrl": HOOK})

    assert (refused.status, refused.error["code"], refused.headers["Retry-After"]) == (429, "TooManyWaiting", "60")


@pytest.mark.parametrize(("environment", "limit"), [({}, None), (ENTRA, 10_000), (SEVEN, 7), ({**ENTRA, **SEVEN}, 7)])
def test_owners_are_limited_by_default_if_they_are_separate(environment: dict[str, str], limit: int | None) -> None:
    assert read_settings({**ENVIRONMENT, **environment}).waiting_limit == limit
