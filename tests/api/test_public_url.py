"""Behind a gateway, links in answers have the address that clients use."""

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.errors import Misconfigured
from bridge.settings import read_settings
from tests.support.harness import ENVIRONMENT, Harness, harness
from tests.support.http import BASE, Client

BODY = {"operationId": "operation-1", "callbackUrl": "https://receiver.example.com/hook"}


def links(bridge: Harness) -> tuple[str, str]:
    """Register twice. Returns the links of the second answer and of an incomplete list."""
    client = Client.of(bridge)
    client.register({**BODY, "operationId": "operation-2"})
    created = client.register(BODY)
    page = client.call(Handlers.list_registrations, "/registrations?limit=1&state=waiting&code=secret-key")
    return created.headers["Location"].partition("default~")[0], page.body["nextLink"].partition("cursor=")[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://hooks.example.com", "https://hooks.example.com/api"),
        ("https://hooks.example.com/", "https://hooks.example.com/api"),
        ("https://hooks.example.com/api/", "https://hooks.example.com/api"),
        ("https://hooks.example.com:8443/speech", "https://hooks.example.com:8443/speech/api"),
        ("http://127.0.0.1:7071", "http://127.0.0.1:7071/api"),
        ("http://[::1]:7071", "http://[::1]:7071/api"),
        ("", BASE),
    ],
)
def test_links_begin_with_the_public_address(value: str, expected: str) -> None:
    location, next_link = links(harness(BRIDGE_PUBLIC_URL=value))

    assert location == f"{expected}/registrations/"
    assert next_link == f"{expected}/registrations?state=waiting&limit=1&"


@pytest.mark.parametrize(
    "value",
    [
        "hooks.example.com",
        "http://hooks.example.com",
        "ftp://hooks.example.com",
        "https://user:secret@hooks.example.com",
        "https://hooks.example.com/?code=secret",
        "https://hooks.example.com/#secret",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/a\r\nX-Injected: secret",
        "https://hooks.example.com/gr\u00fcsse",
        "https://hooks.example.com:99999",
        "https://",
    ],
)
def test_invalid_public_address_is_named_and_not_shown(value: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        read_settings({**ENVIRONMENT, "BRIDGE_PUBLIC_URL": value})

    assert list(raised.value.problems) == ["BRIDGE_PUBLIC_URL"]
    assert "secret" not in str(raised.value.lines)
