"""`python -m local start`, as `make start` runs it."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from azure.storage.queue import QueueClient

from local.azurite import Azurite
from local.child import Child
from local.record import PATIENCE, Record
from local.settings import REPOSITORY, Settings
from tests.local.conftest import has_ended

HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"

APP = """
import os, pathlib

@app.route("settings/{name}")
def settings(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(os.environ[req.route_params["name"]])

@app.route("hold")
def hold(req: func.HttpRequest) -> func.HttpResponse:
    print("holding", flush=True)
    return func.HttpResponse(pathlib.Path(os.environ["PIPE"]).read_text())
"""


class Started:
    """A local start that was begun, and what it says."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.settings = Settings.read(environ)
        self.lines: Record[str] = Record()
        self._command = Child(
            [sys.executable, "-m", "local", "start"],
            cwd=REPOSITORY,
            env={**os.environ, **environ},
            on_line=self.lines.add,
        )

    def until(self, text: str) -> None:
        """Wait until it says something."""
        self.lines.wait_for(lambda lines: any(text in line for line in lines))

    def get(self, path: str) -> str:
        """Ask the function app."""
        return requests.get(f"http://127.0.0.1:{self.settings.port}/api/{path}", timeout=60).text

    def children(self) -> list[int]:
        """Return the processes that it started; of Linux."""
        pid = self._command.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def signal(self, how: signal.Signals) -> None:
        """Press Ctrl-C, for instance."""
        os.kill(self._command.pid, how)

    def ended_with(self) -> int | None:
        """Wait for its end and return its exit code."""
        assert self._command.wait(PATIENCE)
        return self._command.exit_code

    def clean_up(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        self._command.stop(PATIENCE)


@pytest.fixture
def environ(tmp_path: Path, make_app: Callable[..., Path]) -> dict[str, str]:
    """Give a start its own folder, ports and app."""
    app = make_app(APP, head=HEAD)
    os.mkfifo(tmp_path / "pipe")
    return {
        "LOCAL_DIR": str(tmp_path / "state with späces"),
        "PORT": str(free_ports(6)),
        "APP_DIR": str(app),
        "PIPE": str(tmp_path / "pipe"),
    }


def free_ports(count: int) -> int:
    """Return the first of some free ports in a row."""
    while True:
        with ExitStack() as held:
            first = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for offset in range(1, count):
                    held.enter_context(socket.create_server(("127.0.0.1", first + offset)))
            except (OSError, OverflowError):
                continue
            return int(first)


@pytest.fixture
def begin(environ: dict[str, str]) -> Iterator[Callable[..., Started]]:
    """Return a function that begins a local start, with settings of its own beside the usual ones."""
    begun: list[Started] = []

    def begin(**own: str) -> Started:
        begun.append(Started({**environ, **own}))
        return begun[-1]

    yield begin
    for each in begun:
        each.clean_up()


def test_everything_runs_until_ctrl_c_and_nothing_is_left(begin: Callable[..., Started]) -> None:
    """It says what runs where and what to type, shows callbacks, and ends with 0."""
    start = begin()
    start.until("Ctrl-C stops everything.")
    receiver = f"http://127.0.0.1:{start.settings.receiver_port}"
    requests.post(f"{receiver}/callback", data=b'{"hello": 1}', headers={"webhook-id": "msg_1"}, timeout=10)
    start.until('{"hello": 1}')
    speech = requests.get(f"{start.get('settings/SPEECH_ENDPOINT')}/standin/requests", timeout=10)
    children = start.children()

    start.signal(signal.SIGINT)

    assert start.ended_with() == 0
    assert speech.json() == []
    assert len(children) == 2
    assert all(has_ended(child) for child in children)
    said = "\n".join(start.lines.entries)
    assert f"curl -s http://127.0.0.1:{start.settings.port}/api/registrations" in said
    assert f'"callbackUrl": "{receiver}/callback"' in said
    assert "callback: POST /callback msg_1, answered 204" in said


def test_state_and_key_survive_a_restart(begin: Callable[..., Started]) -> None:
    """On the same ports, so that what was registered before goes on after."""
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
    """Not even SIGKILL, which it cannot catch."""
    start = begin()
    start.until("Ctrl-C stops everything.")
    children = start.children()

    start.signal(signal.SIGKILL)

    assert len(children) == 2
    assert all(has_ended(child) for child in children)


def test_second_ctrl_c_hurries(begin: Callable[..., Started]) -> None:
    """The first one waits for what is in flight."""
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
    """Return the class of what a call raises."""
    with pytest.raises(requests.RequestException) as raised:
        call()
    return raised.type


def test_what_the_environment_names_is_not_started(begin: Callable[..., Started], storage: str) -> None:
    """Storage and a Speech endpoint of one's own."""
    start = begin(AzureWebJobsStorage=storage, SPEECH_ENDPOINT="https://speech.example", SPEECH_KEY="mine")

    start.until("Ctrl-C stops everything.")

    assert len(start.children()) == 1
    assert start.get("settings/SPEECH_KEY") == "mine"
    said = "\n".join(start.lines.entries)
    assert "speech     https://speech.example" in said
    assert "storage    as AzureWebJobsStorage says" in said
    assert storage not in said


@pytest.fixture
def storage(azurite: Azurite) -> str:
    """Name a storage that runs already."""
    return azurite.connection_string


@pytest.mark.parametrize("victim", [0, 1])
def test_part_that_ends_by_itself_ends_the_start_and_is_named(begin: Callable[..., Started], victim: int) -> None:
    """Azurite is started first, the host last."""
    start = begin()
    start.until("Ctrl-C stops everything.")
    children = start.children()

    os.kill(children[victim], signal.SIGKILL)

    assert start.ended_with() == 1
    assert all(has_ended(child) for child in children)
    name = ["Azurite", "the function host"][victim]
    assert start.lines.entries[-1] == f"{name} has ended by itself, and everything else is stopped."


@pytest.mark.parametrize("offset", range(6))
def test_port_that_is_taken_is_said_before_anything_starts(begin: Callable[..., Started], offset: int) -> None:
    """One line with the port, whichever of the six it is."""
    first = free_ports(6)
    with socket.create_server(("127.0.0.1", first + offset)):
        start = begin(PORT=str(first))

        assert start.ended_with() == 1

    (line,) = start.lines.entries
    assert line.startswith(f"port {first + offset} is taken: stop what listens there, or set PORT")


def test_second_start_in_the_same_folder_is_refused(begin: Callable[..., Started]) -> None:
    """Two Azurites on one state would ruin it."""
    first = begin()
    first.until("Ctrl-C stops everything.")

    second = begin(PORT=str(free_ports(6)))

    assert second.ended_with() == 1
    (line,) = second.lines.entries
    assert line.startswith("another start uses ")
    assert line.endswith("stop it, or start this one with its own PORT and LOCAL_DIR.")


def test_app_that_does_not_index_is_said_and_everything_stops(
    begin: Callable[..., Started], make_app: Callable[..., Path]
) -> None:
    """One line."""
    make_app("import no_such_module", head="")

    start = begin()

    assert start.ended_with() == 1
    assert "the function host does not start: the app does not index: ModuleNotFound" in start.lines.entries[-1]
