"""Six faults. The page alone explains each: the cause, and the remedy."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser

from tests.dashboard.browser import is_ready, looking, opened
from tests.support import situations
from tests.support.situations import Broken, Place

SAID: list[tuple[Callable[[Place], Broken], list[str]]] = [
    (
        situations.wrong_speech_key,
        ["Speech refuses the bridge's credential", "HTTP 401 (401: Access denied", "heck SPEECH_KEY"],
    ),
    (
        situations.receiver_with_401,
        [
            "HTTP 401",
            "The receiver requires credentials that the callback did not have",
            "Register with the required header",
        ],
    ),
    (
        situations.receiver_down,
        ["connect", "The receiver does not accept connections", "Start the receiver, and check its port and firewall"],
    ),
    (
        situations.name_does_not_resolve,
        ["hooks.no-such-name.invalid", "The receiver's name leads to no address", "Check the host's spelling"],
    ),
    (
        situations.refused_by_the_rules,
        ["refused by the rules", "The rules do not let callbacks go to this URL", "BRIDGE_CALLBACK_ALLOWED_NETWORKS"],
    ),
    (
        situations.operation_unknown_upstream,
        ["HTTP 404 (NotFound", "Speech knows no such operation, or not yet", "Check the operation id and the source"],
    ),
]


@pytest.mark.parametrize(("prepare", "words"), SAID, ids=[each.__name__ for each, _ in SAID])
def test_page_shows_the_fault_and_the_remedy(
    browser: Browser, prepare: Callable[[Place], Broken], words: list[str]
) -> None:
    """The explanation is in the history of the row."""
    with situations.place() as at:
        broken = prepare(at)
        with looking(browser, broken.app.url) as page:
            is_ready(page)
            output = opened(page, broken.name.split("~")[1])

    assert [word for word in words if word not in output] == [], output
