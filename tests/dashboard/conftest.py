"""Fixtures for the page: a browser, and an app with a key, a fake Speech service and a receiver."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from playwright.sync_api import Browser

from local.host.process import HostProcess
from tests.dashboard.browser import chromium
from tests.support.situations import OPEN, Place, place

KEY = "the-key"


@dataclass(frozen=True, slots=True)
class Site:
    """A bridge that requires a key, with the services around the bridge."""

    at: Place
    app: HostProcess

    @property
    def url(self) -> str:
        """The address of the bridge."""
        return self.app.url

    @property
    def callback_url(self) -> str:
        """The URL that receives callbacks."""
        return f"{self.at.receiver.url}/callback"

    def register(self, operation_id: str, callback_url: str = "", **more: object) -> str:
        """Register. Returns the id."""
        body = {"operationId": operation_id, "callbackUrl": callback_url or self.callback_url, **more}
        headers = {"x-functions-key": KEY}
        answer = requests.post(f"{self.url}/api/registrations", json=body, headers=headers, timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Start a browser."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    """Start a bridge that requires a key, on separate storage."""
    with place() as at:
        yield Site(at, at.start({**OPEN, "BRIDGE_CALLBACK_KEEP_ANSWERS": "true"}, keys=(KEY,)))
