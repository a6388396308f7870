"""Each receiver of `examples/`, with each scheme, and the bridge's sender for callbacks."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.adapters.net.guard import Guard
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.dependencies import real_clock
from bridge.domain.callback_url import CallbackRules
from bridge.domain.events import subscriber_of
from local.azurite import Azurite
from tests.examples.receivers import Example, start
from tests.examples.sending import AUDIENCE, KEYRING, OWNER, Sender

RULES = CallbackRules(
    allow_http=True, allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),), allowed_ports=None, keep_answers=True
)

SETTINGS = {
    "v1": {"WEBHOOK_SECRET": KEYRING.secrets_for(owner=OWNER, origin=AUDIENCE)[0].reveal()},
    "v1a": {
        "WEBHOOK_PUBLIC_KEYS": KEYRING.public_keys()[0].text,
        "WEBHOOK_AUDIENCE": AUDIENCE,
        "WEBHOOK_SUBSCRIBER": subscriber_of(OWNER),
    },
}

NAMES = ("fastapi", "express", "azure-function")


@pytest.fixture(scope="module", params=[(name, scheme) for name in NAMES for scheme in SETTINGS], ids="-".join)
def receiver(
    request: pytest.FixtureRequest, azurite: Azurite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    """Run one of the examples."""
    name, scheme = request.param
    inbox: Path = tmp_path_factory.mktemp(name) / "inbox"
    example = start(name, SETTINGS[scheme], inbox=inbox, storage=azurite.connection_string)
    with example.service:
        yield example


@pytest.fixture(scope="session")
def webhook_sender() -> Iterator[HttpWebhookSender]:
    """Yield the bridge's sender, with permission to call this machine."""
    webhook_sender = HttpWebhookSender(Guard(RULES), real_clock)
    yield webhook_sender
    webhook_sender.close()


@pytest.fixture
def sender(receiver: Example, webhook_sender: HttpWebhookSender) -> Sender:
    """Return a sender of callbacks to the running example."""
    return Sender(receiver, webhook_sender)
