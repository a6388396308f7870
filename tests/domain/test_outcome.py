"""Outcomes of a receiver's answer."""

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
def test_the_status_determines_the_outcome(status: int, kind: type[Delivered | Gone | Rejected]) -> None:
    """2xx is success, 410 ends the delivery, and any other status is retried."""
    assert type(answered(status, address=None)) is kind


def test_bytes_that_are_not_text_are_kept_in_a_readable_form() -> None:
    """The record shows as much of the answer as possible."""
    assert answered(500, address=None, body=b"ok \xff").body == "ok \N{REPLACEMENT CHARACTER}"
