"""`python -m local start`, like `make start`."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from azure.storage.queue import QueueClient

from local.azurite import Azurite
from tests.local.conftest import has_ended
from tests.local.started import Started, free_ports


def test_everything_runs_until_ctrl_c_and_nothing_is_left(begin: Callable[..., Started]) -> None:
    """The output has the addresses and the commands to type, and shows callbacks. The exit code is 0."""
    start = begin()
    start.until("Ctrl-C stops everything.")
    receiver = f"http://127.0.0.1:{start.settings.receiver_port}"
    requests.post(f"{receiver}/callback", data=b'{"hello": 1}', headers={"webhook-id": "msg_1"}, timeout=10)
    start.until('{"hello": 1}')
    speech = requests.get(f"{start.get('settings/SPEECH_ENDPOINT')}/fake-speech/requests", timeout=10)
    children = start.children()

    start.signal(signal.SIGINT)

    assert start.ended_with() == 0
    assert speech.json() == []
    assert len(children) == 2
    assert all(has_ended(child) for child in children)
    output = "\n".join(start.lines.entries)
    assert f"curl -s http://127.0.0.1:{start.settings.port}/api/registrations" in output
    assert rf"\"callbackUrl\": \"{receiver}/callback\"" in output
    assert "callback: POST /callback msg_1, answered 204" in output


def test_state_and_key_survive_a_restart(begin: Callable[..., Started]) -> None:
    """The ports are the same, so earlier registrations continue."""
    first = begin()
    first.until("Ctrl-C stops everything.")
    key = first.get("settings/BRIDGE_SIGNING_KEYS")
    storage = first.get("settings/AzureWebJobsStorage")
    with QueueClient.from_connection_string(storage, "kept") as queue:
        queue.create_queue()
        queue.send_message("kept")
    first.signal(signal.SIGTERM)
    assert first.ended_with() == 0

    second = begin()

    second.until("Ctrl-C stops everything.")
    assert second.get("settings/BRIDGE_SIGNING_KEYS") == key
    assert second.get("settings/AzureWebJobsStorage") == storage
    with QueueClient.from_connection_string(storage, "kept") as queue:
        assert [message.content for message in queue.peek_messages()] == ["kept"]


def test_kill_leaves_nothing_behind(begin: Callable[..., Started]) -> None:
    """SIGKILL, which cannot be caught, leaves no process either."""
    start = begin()
    start.until("Ctrl-C stops everything.")
    children = start.children()

    start.signal(signal.SIGKILL)

    assert len(children) == 2
    assert all(has_ended(child) for child in children)


def test_second_ctrl_c_ends_at_once(begin: Callable[..., Started]) -> None:
    """The first Ctrl-C waits for requests in flight."""
    start = begin()
    start.until("Ctrl-C stops everything.")
    failures: list[type[BaseException]] = []
    client = threading.Thread(target=lambda: failures.append(failure_of(lambda: start.get("hold"))))
    client.start()
    start.until("holding")
    start.signal(signal.SIGINT)
    start.until("finishes what is in flight")

    start.signal(signal.SIGINT)

    assert start.ended_with() == 0
    client.join()
    assert failures == [requests.ConnectionError]


def failure_of(call: Callable[[], object]) -> type[BaseException]:
    """Return the class of the raised error."""
    with pytest.raises(requests.RequestException) as raised:
        call()
    return raised.type


def test_services_named_by_the_environment_are_not_started(begin: Callable[..., Started], storage: str) -> None:
    """The environment can name external storage and a Speech endpoint."""
    start = begin(AzureWebJobsStorage=storage, SPEECH_ENDPOINT="https://speech.example", SPEECH_KEY="mine")

    start.until("Ctrl-C stops everything.")

    assert len(start.children()) == 1
    assert start.get("settings/SPEECH_KEY") == "mine"
    output = "\n".join(start.lines.entries)
    assert "speech     https://speech.example" in output
    assert "storage    as set by AzureWebJobsStorage" in output
    assert storage not in output


@pytest.fixture
def storage(azurite: Azurite) -> str:
    """Return the connection string of a running storage."""
    return azurite.connection_string


def test_unexpected_end_of_the_app_ends_the_start_and_is_named(begin: Callable[..., Started]) -> None:
    """The start cannot continue without the app."""
    start = begin()
    start.until("Ctrl-C stops everything.")
    storage, app = start.children()

    os.kill(app, signal.SIGKILL)

    assert start.ended_with() == 1
    assert all(has_ended(child) for child in (storage, app))
    assert start.lines.entries[-1] == "the function host has ended unexpectedly, and everything else is stopped."


@pytest.mark.parametrize("offset", range(6))
def test_occupied_port_is_reported_before_anything_starts(begin: Callable[..., Started], offset: int) -> None:
    """One line with the port, for any of the six ports."""
    first = free_ports(6)
    with socket.create_server(("127.0.0.1", first + offset)):
        start = begin(PORT=str(first))

        assert start.ended_with() == 1

    (line,) = start.lines.entries
    assert line.startswith(f"port {first + offset} is taken: stop what listens there, or set PORT")


def test_second_start_in_the_same_folder_is_rejected(begin: Callable[..., Started]) -> None:
    """Two Azurites would corrupt the state."""
    first = begin()
    first.until("Ctrl-C stops everything.")

    second = begin(PORT=str(free_ports(6)))

    assert second.ended_with() == 1
    (line,) = second.lines.entries
    assert line.startswith("another start uses ")
    assert line.endswith("stop it, or start this one with its own PORT and LOCAL_DIR.")


def test_second_start_with_its_own_port_and_folder_runs_beside_the_first(
    begin: Callable[..., Started], tmp_path: Path
) -> None:
    """Each start has a separate key and storage."""
    first = begin()
    first.until("Ctrl-C stops everything.")

    second = begin(PORT=str(free_ports(6)), LOCAL_DIR=str(tmp_path / "second"))

    second.until("Ctrl-C stops everything.")
    keys = {each.get("settings/BRIDGE_SIGNING_KEYS") for each in (first, second)}
    storages = {each.get("settings/AzureWebJobsStorage") for each in (first, second)}
    assert (len(keys), len(storages)) == (2, 2)


def test_app_that_does_not_index_is_reported_and_everything_stops(
    begin: Callable[..., Started], make_app: Callable[..., Path]
) -> None:
    """The message is one line."""
    make_app("import no_such_module", head="")

    start = begin()

    assert start.ended_with() == 1
    assert "the function host does not start: the app does not index: ModuleNotFound" in start.lines.entries[-1]
