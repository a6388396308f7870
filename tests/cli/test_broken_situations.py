"""Six faults on the started app, and the output of `show`, `status` and `doctor` for each."""

from collections.abc import Iterator

import pytest

from tests.support import situations
from tests.support.cli import type_in
from tests.support.situations import Broken, Place


@pytest.fixture
def at() -> Iterator[Place]:
    """Yield a folder and ports for an app."""
    with situations.place() as made:
        yield made


def environment(broken: Broken) -> dict[str, str]:
    """Return the environment that points to the bridge."""
    return {"BRIDGE_URL": broken.app.url}


def all_three_say(broken: Broken, *words: str) -> None:
    """Check the output of each of the three commands, and the exit code of `doctor`."""
    shown = type_in("show", broken.name, environment=environment(broken))
    status = type_in("status", environment=environment(broken))
    doctor = type_in("doctor", environment=environment(broken))

    assert (shown.exit, status.exit, doctor.exit) == (0, 0, 1), doctor.out
    for output in (shown.out, status.out, doctor.out):
        assert [word for word in words if word not in output] == [], output
    for output in (status.out, doctor.out):
        assert broken.name in output


def test_wrong_speech_key(at: Place) -> None:
    """The source is paused. The output has Speech's error message and the setting to check."""
    broken = situations.wrong_speech_key(at)

    all_three_say(broken, "Speech refuses the bridge's credential", "HTTP 401 (401: Access denied", "check SPEECH_KEY")
    assert "paused until" in type_in("status", environment=environment(broken)).out


def test_receiver_with_401(at: Place) -> None:
    """The output has the required authentication, and how to provide the credential."""
    broken = situations.receiver_with_401(at)

    wants = "the receiver requires credentials that the callback did not have"
    all_three_say(broken, f"127.0.0.1:{at.receiver.port}", wants, "HTTP 401", "register with the required header")


def test_receiver_down(at: Place) -> None:
    """No process listens at the receiver's address."""
    broken = situations.receiver_down(at)

    refused = "the receiver does not accept connections (connect: connection refused)"
    all_three_say(broken, "127.0.0.1:", refused, "start the receiver, and check its port and firewall")


def test_name_of_the_receiver_does_not_resolve(at: Place) -> None:
    broken = situations.name_does_not_resolve(at)

    no_address = "the receiver's name leads to no address (dns: there is no such name)"
    all_three_say(broken, "hooks.no-such-name.invalid", no_address, "check the host's spelling")


def test_callback_rejected_by_the_network_rules(at: Place) -> None:
    """The rules were narrowed after the registration. A new registration is rejected with the same advice."""
    broken = situations.refused_by_the_rules(at)

    rules = "the rules do not let callbacks go to this URL"
    all_three_say(
        broken, f"127.0.0.1:{at.receiver.port}", rules, "refused-by-rules", "BRIDGE_CALLBACK_ALLOWED_NETWORKS"
    )
    asked = ("--operation-id", "another-operation", "--callback-url", f"{at.receiver.url}/callback")
    refused = type_in("register", *asked, environment=environment(broken))
    assert refused.exit == 2
    assert "callbackUrl points to an address that is not public; use a public https URL" in refused.err
    assert at.receiver.callbacks == ()


def test_operation_unknown_upstream(at: Place) -> None:
    """The hint appears long before the bridge gives the operation up."""
    broken = situations.operation_unknown_upstream(at)

    knows = "Speech knows no such operation, or not yet (not_found: HTTP 404 (NotFound"
    all_three_say(broken, "source default", knows, "check the operation id and the source")
