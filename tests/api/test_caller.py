"""The caller's identity, as far as known."""

import azure.functions as func
import pytest

from bridge.api.auth import caller_of


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        ("203.0.113.7:50412", "203.0.113.7"),
        ("203.0.113.7", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7:50412", "203.0.113.7"),
        ("[2001:db8::7]:50412", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.7, \\nforged", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_caller_is_the_address_seen_by_the_platform(forwarded: str, caller: str) -> None:
    """Earlier addresses in the header are claims of the caller."""
    request = func.HttpRequest(
        "GET", "https://bridge.example.com/api/status", headers={"X-Forwarded-For": forwarded}, body=b""
    )

    assert caller_of(request) == caller
