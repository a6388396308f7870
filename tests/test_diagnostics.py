"""What is broken and what to do: a hint for everything that can go wrong, and none for what went well."""

import json

import pytest

from bridge import diagnostics
from bridge.domain.outcome import Failure, TlsReason
from bridge.domain.upstream import NoReply, NoToken, Reply, Unauthorized, read
from tests.support.harness import NOON


@pytest.mark.parametrize("error", [*Failure, "lost"])
def test_every_class_of_failure_has_a_hint_of_its_own(error: str) -> None:
    """As the API shows it."""
    hint = diagnostics.of_attempt(None, error)

    assert hint is not None
    assert [name for name, each in diagnostics.FAILURES.items() if each == hint] == [error]


@pytest.mark.parametrize("reason", TlsReason)
def test_every_reason_of_a_tls_failure_has_a_hint_with_it(reason: TlsReason) -> None:
    """What to do is not the same for an expired certificate and another host's."""
    hint = diagnostics.of_attempt(None, "tls", reason.value)

    assert hint is not None
    assert reason.value in hint.what


def test_a_tls_failure_of_an_older_version_has_the_hint_of_its_kind() -> None:
    """It was recorded without a detail."""
    assert diagnostics.of_attempt(None, "tls", None) == diagnostics.FAILURES["tls"]


def test_a_redirect_is_explained_with_where_it_leads() -> None:
    """So that the right URL can be registered."""
    hint = diagnostics.of_attempt(302, None, None, "https://new.example.com/")

    assert hint is not None
    assert "https://new.example.com/" in hint.what


@pytest.mark.parametrize("status", [200, 204, 299])
def test_what_went_well_needs_no_hint(status: int) -> None:
    """Any 2xx."""
    assert diagnostics.of_attempt(status, None) is None


def test_an_attempt_under_way_needs_no_hint() -> None:
    """Nobody knows yet."""
    assert diagnostics.of_attempt(None, None) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "follow no redirect"),
        (401, "requires credentials"),
        (404, "nothing at this path"),
        (410, "wants no more callbacks there"),
        (418, "refuses the callback"),
        (500, "the receiver failed"),
        (599, "the receiver failed"),
    ],
)
def test_a_status_goes_by_itself_or_by_its_class(status: int, words: str) -> None:
    """What is not listed is not left without a word."""
    hint = diagnostics.of_attempt(status, None)

    assert hint is not None
    assert words in hint.what


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=401), "refuses the bridge's credential"),
        (Reply(status=403, body=b'{"error": {"code": "PermissionDenied"}}'), "refuses the bridge's credential"),
        (NoToken("no token: ClientAuthenticationError"), "refuses the bridge's credential"),
        (Reply(status=404), "knows no such operation"),
        (Reply(status=410), "knows no such operation"),
        (Reply(status=408), "a gateway before Speech"),
        (Reply(status=412), "a gateway before Speech"),
        (Reply(status=431), "refuses the request"),
        (Reply(status=204), "knows no such operation"),
        (Reply(status=429), "gets too many requests"),
        (Reply(status=400), "refuses the request"),
        (Reply(status=503), "has a fault"),
        (Reply(status=200, body=b"<html>"), "is not the Speech API"),
        (NoReply("no source is named gone"), "do not have the operation's source"),
        (NoReply(Failure.DNS), "cannot be reached"),
        (NoReply(Failure.TIMEOUT), "cannot be reached"),
    ],
)
def test_what_a_poll_met_is_explained(reply: Reply | NoReply | NoToken, words: str) -> None:
    """By the very text that the answer is kept as."""
    result = read(reply, "operation-1", NOON)

    hint = diagnostics.of_poll(getattr(result, "what", None))

    assert hint is not None
    assert words in hint.what


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        ({"error": {"code": "PermissionDenied", "message": "Principal does not have access."}}, "SPEECH_KEY"),
        (
            {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 22.14:18:12."},
            "wait until it is replenished",
        ),
        ({"error": {"code": "403", "message": "Quota exceeded."}}, "wait until it is replenished"),
        (
            {"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}},
            "allow the app's subnet",
        ),
        (
            {"error": {"code": "403", "message": "Public access is disabled. Please configure private endpoint."}},
            "allow the app's subnet",
        ),
    ],
)
def test_each_kind_of_403_gets_an_advice_of_its_own(body: dict[str, object], advice: str) -> None:
    """A used-up quota and network rules are no wrong key."""
    result = read(Reply(status=403, body=json.dumps(body).encode()), "operation-1", NOON)

    assert isinstance(result, Unauthorized)
    assert advice in diagnostics.of_denial(result.what).do


def test_a_denied_credential_gets_the_advice_that_the_status_gives() -> None:
    """One advice for one fault."""
    hint = diagnostics.of_poll("HTTP 401")

    assert hint is not None
    assert hint.do == diagnostics.CREDENTIAL_ADVICE


@pytest.mark.parametrize("reason", ["deadline", "notFound", "refused"])
def test_every_reason_to_give_up_has_a_hint(reason: str) -> None:
    """The three that docs/receiving.md lists."""
    assert diagnostics.of_end(reason) is diagnostics.REASONS[reason]


def test_an_operation_that_goes_well_needs_no_hint() -> None:
    """No error at the last poll, and no reason to give up."""
    assert (diagnostics.of_poll(None), diagnostics.of_end(None)) == (None, None)
