"""`python -m local host`, like `make host`: the local start with Microsoft's function host."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from local.host.microsoft import MicrosoftHost
from local.settings import REPOSITORY
from tests.local.conftest import has_ended
from tests.local.started import Started
from tests.support.tools import tool

READY = "Ctrl-C stops everything."


@pytest.fixture
def functions_host() -> str:
    return tool("functions-host")


@pytest.mark.usefixtures("functions_host")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_first_registration_is_delivered_and_ctrl_c_leaves_no_process(
    begin: Callable[..., Started], how: signal.Signals
) -> None:
    start = begin("host", APP_DIR=str(REPOSITORY), FAKE_SPEECH_DURATIONS="0.1", BRIDGE_POLL_SCHEDULE="* * * * * *")
    start.until(READY, MicrosoftHost.start_timeout)
    output = "\n".join(start.lines.entries)
    commands = output.partition("within a minute:\n")[2].partition("\n\nor by")[0]

    registered = subprocess.run(["sh", "-c", commands], capture_output=True, text=True, check=True)
    start.until("answered 204, signature verified", MicrosoftHost.start_timeout)
    page = requests.get(f"http://127.0.0.1:{start.settings.port}/api/dashboard", timeout=60)
    descendants = start.descendants()
    start.signal(how)

    assert start.ended_with(MicrosoftHost.stop_timeout) == 0
    assert '"state": "waiting"' in registered.stdout
    assert page.status_code == 200
    assert len(descendants) == 4, "Azurite, the supervisor, the host and its worker"
    assert all(has_ended(each) for each in descendants)
    log = [json.loads(line) for line in start.settings.log.read_text().splitlines()]
    assert [each["level"] for each in log if each.get("event") == "registration.created"] == ["INFO"]
    assert any("registered: call back 127.0.0.1:" in line for line in start.lines.entries)
    assert not any("Building host" in line for line in start.lines.entries)


@pytest.mark.usefixtures("functions_host")
def test_kill_leaves_no_process(begin: Callable[..., Started]) -> None:
    # Make passes on PYTHON from its command line, which lacks the app's packages.
    start = begin("host", PYTHON=str(Path(sys.base_prefix, "bin", "python3")))
    start.until(READY, MicrosoftHost.start_timeout)
    descendants = start.descendants()

    start.signal(signal.SIGKILL)

    assert len(descendants) == 4
    assert all(has_ended(each, MicrosoftHost.stop_timeout) for each in descendants)


def test_missing_host_is_reported_with_the_package_to_install(begin: Callable[..., Started]) -> None:
    start = begin("host", PATH="/usr/bin:/bin")

    assert start.ended_with() == 1
    assert "install Azure Functions Core Tools" in start.lines.entries[-1]


@pytest.mark.usefixtures("functions_host")
def test_worker_that_cannot_start_is_named_at_once(begin: Callable[..., Started], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['grpc'] = None\n")

    start = begin("host", PYTHONPATH=str(tmp_path))

    assert start.ended_with(MicrosoftHost.start_timeout / 2) == 1
    # The quoted text is the host's or the worker's traceback, depending on the order of their lines.
    assert start.lines.entries[-1].startswith("Microsoft's function host does not start: ")
    assert "grpc" in start.lines.entries[-1]
