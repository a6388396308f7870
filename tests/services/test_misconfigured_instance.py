"""An instance with bad settings returns queue messages for healthy instances."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.app import GIVE_BACK_AFTER, App
from bridge.domain.delivery import REDISPATCH
from bridge.domain.errors import Misconfigured

QUEUES = json.loads((Path(__file__).parents[2] / "host.json").read_text())["extensions"]["queues"]
VISIBILITY_TIMEOUT = timedelta(seconds=30)


def test_a_message_is_returned_after_a_moment() -> None:
    pauses: list[float] = []
    app = App(Misconfigured({"BRIDGE_SIGNING_KEYS": "is missing"}), sleep=pauses.append)

    with pytest.raises(Misconfigured, match="BRIDGE_SIGNING_KEYS"):
        app.deliver(b"{}")

    assert pauses == [GIVE_BACK_AFTER]


def test_a_message_and_its_successor_expire_before_they_are_poison() -> None:
    """A message reappears after the visibility timeout. When the message expires, the due row causes another."""
    assert QUEUES["visibilityTimeout"] == "00:00:30"
    for sends in (1, 2):
        tries = -(-REDISPATCH.wait(sends) // (VISIBILITY_TIMEOUT + timedelta(seconds=GIVE_BACK_AFTER)))
        assert tries < QUEUES["maxDequeueCount"]
