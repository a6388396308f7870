"""What an answer of a receiver means."""

import pytest

from bridge.domain.outcome import Delivered, Gone, Rejected, answered


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (199, Rejected),
        (200, Delivered),
        (299, Delivered),
        (300, Rejected),
        (409, Rejected),
        (410, Gone),
        (411, Rejected),
    ],
)
def test_the_status_says_whether_it_was_taken(status: int, kind: type[Delivered | Gone | Rejected]) -> None:
    """2xx is, 410 ends it, everything else comes again."""
    assert type(answered(status, address=None)) is kind


def test_bytes_that_are_no_text_are_kept_as_far_as_they_can_be_shown() -> None:
    """They are somebody's answer all the same."""
    assert answered(500, address=None, body=b"ok \xff").body == "ok \N{REPLACEMENT CHARACTER}"
