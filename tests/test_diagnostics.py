"""Hints: one for every fault, and none without a fault."""

import pytest

from bridge import diagnostics
from bridge.domain.operation import PollErrorKind
from bridge.domain.outcome import Failure


@pytest.mark.parametrize("error", Failure)
def test_every_class_of_failure_has_a_separate_hint(error: Failure) -> None:
    """The comparison uses the API's format."""
    hint = diagnostics.of_attempt(None, error)

    assert hint is not None
    assert [name for name, each in diagnostics.FAILURES.items() if each == hint] == [error]


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


#: The kinds of poll errors about the way to Speech, which have one hint.
WAY = {
    PollErrorKind.DNS_FAILED,
    PollErrorKind.CONNECTION_FAILED,
    PollErrorKind.CONNECTION_CLOSED,
    PollErrorKind.TLS_FAILED,
    PollErrorKind.TIMEOUT,
}


@pytest.mark.parametrize(
    ("kinds", "words", "advice"),
    [
        (
            {"unauthorized", "permission_denied", "credential_unavailable"},
            "refuses the bridge's credential",
            "SPEECH_KEY",
        ),
        ({"quota_exceeded"}, "quota of the Speech resource is used up", "wait until it is replenished"),
        ({"forbidden"}, "refuses the bridge, for the reason in brackets", "allow the app's subnet"),
        ({"not_found"}, "knows no such operation", "check the operation id"),
        ({"bad_request"}, "refuses the request", "SPEECH_PATH"),
        ({"rate_limited"}, "gets too many requests", "SPEECH_REQUESTS_PER_SECOND"),
        ({"service_unavailable", "server_error"}, "has a fault", "status page"),
        ({"gateway_error"}, "a gateway before Speech", "proxies and gateways"),
        ({"invalid_response"}, "is not the Speech API's", "SPEECH_ENDPOINT"),
        ({"unknown_source"}, "do not have the operation's source", "BRIDGE_SOURCES"),
        ({"internal_error"}, "fault in its own code", "app.failed"),
        ({"unknown"}, "the last poll failed", "the bridge's version"),
        (WAY, "cannot be reached", "SPEECH_ENDPOINT"),
    ],
)
def test_each_kind_of_poll_error_is_explained(kinds: set[str], words: str, advice: str) -> None:
    """Kinds with another cause have another hint."""
    hints = {kind: diagnostics.of_poll(kind) for kind in PollErrorKind}

    (hint,) = {hints[PollErrorKind(kind)] for kind in kinds}
    assert {kind for kind, each in hints.items() if each == hint} == kinds
    assert words in hint.what
    assert advice in hint.do


def test_a_kind_of_a_newer_bridge_is_explained_as_an_unknown_one() -> None:
    """The command line can be older than the bridge."""
    assert diagnostics.of_poll("of-a-newer-version") == diagnostics.of_poll(PollErrorKind.UNKNOWN)


@pytest.mark.parametrize("cause", ["quota", "network", "SPEECH_KEY", "role"])
def test_the_advice_for_a_403_without_a_code_names_each_cause(cause: str) -> None:
    """Only the text of the answer has the cause, and no code reads the text."""
    assert cause in diagnostics.of_poll(PollErrorKind.FORBIDDEN).do


@pytest.mark.parametrize("reason", ["deadline", "notFound", "refused"])
def test_every_reason_of_an_expiry_has_a_hint(reason: str) -> None:
    """docs/receiving.md lists the three reasons."""
    assert diagnostics.of_end(reason) is diagnostics.REASONS[reason]


def test_an_operation_without_errors_has_no_hint() -> None:
    """The operation has not expired."""
    assert diagnostics.of_end(None) is None
