"""Stored state of earlier versions of the bridge: `python -m tests.local.kept_state` writes the state of this one.

Each folder below `state/` belongs to one version: Azurite's files, the signing key, and `registrations.json` with the
API's last answers. Add a folder when the schema of rows changes, and keep the earlier ones, since a newer bridge must
continue with the state of an older one.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from bridge.storage.records import SCHEMA_VERSION
from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.settings import Settings, app_environment
from local.upstream import Upstream

STATES = Path(__file__).parent / "state"

#: The callback URL in all states. The port is in the rows, and below the ports that systems assign.
RECEIVER_PORT = 27072

#: Longer than this code will exist, so nothing expires or is purged before a test.
FOR_EVER = "36500d"

#: The registrations by their last state.
LEFT_BEHIND = ("delivered", "pending", "waiting", "canceled")


def environment(folder: Path, azurite: Azurite, upstream: Upstream) -> dict[str, str]:
    """Return the app's settings, with the signing key in the folder. Creates the key if necessary."""
    own = {
        "PATH": "/usr/bin:/bin",
        "AzureWebJobsStorage": azurite.connection_string,
        "BRIDGE_POLL_SCHEDULE": "* * * * * *",
        "BRIDGE_POLL_INTERVAL": "1s",
        "BRIDGE_RETENTION": FOR_EVER,
        "BRIDGE_OPERATION_DEADLINE": FOR_EVER,
    }
    speech = {"SPEECH_ENDPOINT": upstream.endpoint, "SPEECH_KEY": upstream.key}
    return {**app_environment(Settings.read({"LOCAL_DIR": str(folder)}), own), **speech}


def read(host: HostProcess, registration_id: str) -> dict[str, Any]:
    """Read a registration."""
    shown: dict[str, Any] = requests.get(f"{host.url}/api/registrations/{registration_id}", timeout=30).json()
    return shown


def read_until(host: HostProcess, registration_id: str, state: str, attempts: int) -> dict[str, Any]:
    """Read a registration until a state and a number of attempts are reached."""
    while True:
        shown = read(host, registration_id)
        if shown["state"] == state and sum(bool(each["status"]) for each in shown["attempts"]) == attempts:
            return shown


def write(target: Path) -> None:
    """Create one registration in each state."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with Azurite.start(folder / "azurite") as azurite:
            shown = _live(folder, azurite)
        _drop_what_is_empty(folder / "azurite")
        (folder / "registrations.json").write_text(json.dumps(shown, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder, target)


def _live(folder: Path, azurite: Azurite) -> Mapping[str, dict[str, Any]]:
    """Register, deliver, fail to deliver, and cancel. Returns the API's last answers."""
    with Upstream.start() as upstream, Receiver.start(port=RECEIVER_PORT) as receiver:
        for name in LEFT_BEHIND:
            upstream.script(f"op-{name}", "Succeeded" if name in {"delivered", "pending"} else "Running")
        receiver.answer("/pending", then=500)
        with HostProcess.start(environment(folder, azurite, upstream)) as host:
            created = {name: _register(host, receiver, name) for name in LEFT_BEHIND}
            requests.delete(f"{host.url}/api/registrations/{created['canceled']['id']}", timeout=30).raise_for_status()
            attempts = {"delivered": 1, "pending": 1}
            return {
                name: {
                    **read_until(host, each["id"], name, attempts.get(name, 0)),
                    "signingSecret": each["signingSecret"],
                }
                for name, each in created.items()
            }


def _register(host: HostProcess, receiver: Receiver, name: str) -> dict[str, Any]:
    body = {"operationId": f"op-{name}", "callbackUrl": f"{receiver.url}/{name}", "metadata": {"left": name}}
    answer = requests.post(f"{host.url}/api/registrations", json=body, timeout=30)
    answer.raise_for_status()
    created: dict[str, Any] = answer.json()
    return created


def _drop_what_is_empty(folder: Path) -> None:
    """Remove the blobs, which no test uses."""
    for each in folder.glob("__azurite_db_blob*"):
        each.unlink()
    shutil.rmtree(folder / "__blobstorage__", ignore_errors=True)


if __name__ == "__main__":
    write(STATES / f"shape-{SCHEMA_VERSION}")
