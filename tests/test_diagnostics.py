"""Hints: one for every fault, and none without a fault."""

import json

import pytest

from bridge import diagnostics
from bridge.domain.outcome import Failure, TlsReason
from bridge.domain.upstream import NoReply, NoToken, Reply, Unauthorized, read
from tests.support.harness import NOON


@pytest.mark.parametrize("error", [*Failure, "lost"])
def test_every_class_of_failure_has_a_separate_hint(error: str) -> None:
    """The comparison uses the API's format."""
    hint = diagnostics.of_attempt(None, error)

    assert hint is not None
    assert [name for name, each in diagnostics.FAILURES.items() if each == hint] == [error]


@pytest.mark.parametrize("reason", TlsReason)
def test_every_reason_of_a_tls_failure_has_a_hint(reason: TlsReason) -> None:
    """The remedy differs between an expired certificate and a certificate of another host."""
    hint = diagnostics.of_attempt(None, "tls", reason.value)

    assert hint is not None
    assert reason.value in hint.what


def test_a_tls_failure_of_an_older_version_has_the_hint_of_its_kind() -> None:
    """The record has no detail."""
    assert diagnostics.of_attempt(None, "tls", None) == diagnostics.FAILURES["tls"]


def test_the_hint_of_a_redirect_has_its_target() -> None:
    """The hint helps to register the right URL."""
    hint = diagnostics.of_attempt(302, None, None, "https://new.example.com/")

    assert hint is not None
    assert "https://new.example.com/" in hint.what


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_success_has_no_hint(status: int) -> None:
    """Covers every 2xx."""
    assert diagnostics.of_attempt(status, None) is None


def test_an_attempt_in_flight_has_no_hint() -> None:
    """The result is unknown."""
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
def test_a_status_has_its_own_hint_or_the_hint_of_its_class(status: int, words: str) -> None:
    """A status without its own hint has the hint of its class."""
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
def test_a_poll_error_has_a_hint(reply: Reply | NoReply | NoToken, words: str) -> None:
    """The hint depends on the stored text of the answer."""
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
def test_each_kind_of_403_has_a_separate_hint(body: dict[str, object], advice: str) -> None:
    """A used-up quota and network rules differ from a wrong key."""
    result = read(Reply(status=403, body=json.dumps(body).encode()), "operation-1", NOON)

    assert isinstance(result, Unauthorized)
    assert advice in diagnostics.of_denial(result.what).do


def test_a_rejected_credential_has_the_hint_of_the_status() -> None:
    """One fault has one hint."""
    hint = diagnostics.of_poll("HTTP 401")

    assert hint is not None
    assert hint.do == diagnostics.CREDENTIAL_ADVICE


@pytest.mark.parametrize("reason", ["deadline", "notFound", "refused"])
def test_every_reason_of_an_expiry_has_a_hint(reason: str) -> None:
    """docs/receiving.md lists the three reasons."""
    assert diagnostics.of_end(reason) is diagnostics.REASONS[reason]


def test_an_operation_without_errors_has_no_hint() -> None:
    """The last poll has no error, and the operation has not expired."""
    assert (diagnostics.of_poll(None), diagnostics.of_end(None)) == (None, None)
