"""This version opens the state of every earlier version, and delivers its pending callbacks."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from bridge.storage.records import SCHEMA_VERSION
from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Callback, Receiver
from local.upstream import Upstream
from tests.local.kept_state import LEFT_BEHIND, RECEIVER_PORT, STATES, environment, read, read_until
from tests.support.json_value import Json

#: Each version with stored state.
VERSIONS = sorted(STATES.iterdir())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Listen on the port of all stored callbacks. Waits for other runs of the tests on this machine."""
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Receiver.start(port=RECEIVER_PORT) as running:
            yield running


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Return a final status for waiting operations."""
    with Upstream.start() as running:
        running.script("op-waiting", "Succeeded")
        yield running


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_pending_callbacks_of_an_earlier_version_are_delivered(
    tmp_path: Path, version: Path, upstream: Upstream, receiver: Receiver
) -> None:
    """The pending message has its old id and secret, and the waiting one is delivered too.

    Ended registrations are unchanged.
    """
    folder = shutil.copytree(version, tmp_path / "state")
    left = json.loads((folder / "registrations.json").read_text())

    with (
        Azurite.start(folder / "azurite") as azurite,
        HostProcess.start(environment(folder, azurite, upstream)) as host,
    ):
        callbacks = receiver.wait_for(2)
        pending = read_until(host, left["pending"]["id"], "delivered", attempts=2)
        waiting = read_until(host, left["waiting"]["id"], "delivered", attempts=1)
        ended = {name: read(host, left[name]["id"]) for name in ("delivered", "canceled")}
        listed = requests.get(f"{host.url}/api/registrations", timeout=30).json()["value"]

    by_path = {callback.path.strip("/"): callback for callback in callbacks}
    assert sorted(by_path) == ["pending", "waiting"]
    for name, callback in by_path.items():
        assert verified(callback, left[name])["data"]["metadata"] == {"left": name}
    assert by_path["pending"].headers["webhook-id"] == left["pending"]["message"]["id"] == pending["message"]["id"]
    assert by_path["waiting"].headers["webhook-id"] == waiting["message"]["id"]
    for name, shown in ended.items():
        assert still_there(left[name], shown) == still_there(left[name], left[name])
    assert sorted(each["id"] for each in listed) == sorted(left[name]["id"] for name in LEFT_BEHIND)


def verified(callback: Callback, registration: dict[str, Any]) -> Json:
    """Verify a callback with the receiver's original secret."""
    return Webhook(registration["signingSecret"]).verify(callback.body, callback.headers)


def still_there(before: object, after: object) -> object:
    """Return the current value of each earlier field, since fields are only added."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {name: still_there(value, after.get(name)) for name, value in before.items() if name != "signingSecret"}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [still_there(*each) for each in zip(before, after, strict=True)]
    return after


def test_every_readable_schema_version_has_a_stored_state() -> None:
    """Covered: the current version and the earlier ones."""
    assert [version.name for version in VERSIONS] == [f"shape-{number}" for number in range(1, SCHEMA_VERSION + 1)]
