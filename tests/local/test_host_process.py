"""`python -m local.host`, as a process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from local.azurite import Azurite
from local.errors import LocalError
from local.host.process import HostProcess
from local.settings import REPOSITORY

HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)\n"

APP = """
import logging, os, pathlib

@app.route("hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    logging.getLogger("app").info("hello was called")
    return func.HttpResponse("hello")

@app.route("hold")
def hold(req: func.HttpRequest) -> func.HttpResponse:
    logging.info("holding")
    return func.HttpResponse(pathlib.Path(os.environ["PIPE"]).read_text())

@app.timer_trigger("timer", schedule="* * * * * *", use_monitor=False)
def tick(timer: func.TimerRequest) -> None:
    logging.info("tick")

@app.queue_trigger("message", queue_name="deliveries", connection="AzureWebJobsStorage")
def deliver(message: func.QueueMessage) -> None:
    logging.info("message")
"""


@pytest.fixture
def environ(azurite: Azurite) -> dict[str, str]:
    """Return the settings of a host."""
    return {**os.environ, "AzureWebJobsStorage": azurite.connection_string}


@pytest.fixture
def app(make_app: Callable[..., Path]) -> Path:
    """Write the app."""
    return make_app(APP, head=HEAD)


def test_host_prints_its_address_and_the_log_of_the_app(app: Path, environ: dict[str, str]) -> None:
    """One line when ready, then the log with levels."""
    with HostProcess.start(environ, app=app) as host:
        assert requests.get(f"{host.url}/api/hello", timeout=10).text == "hello"

        lines = host.lines.wait_for(lambda lines: any("hello was called" in line for line in lines))

    assert lines[0] == f"the function host listens on {host.url} with deliver, hello, hold, tick"
    assert any("INFO app: hello was called" in line for line in lines)


def test_keys_can_be_enforced(app: Path, environ: dict[str, str]) -> None:
    """The option is `--keys`."""
    with HostProcess.start(environ, app=app, keys=["secret"]) as host:
        without = requests.get(f"{host.url}/api/hello", timeout=10)
        with_key = requests.get(f"{host.url}/api/hello", headers={"x-functions-key": "secret"}, timeout=10)

    assert (without.status_code, with_key.status_code) == (401, 200)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_requests_in_flight_and_exits_with_0(
    app: Path, environ: dict[str, str], how: signal.Signals
) -> None:
    """The running request is answered."""
    os.mkfifo(app / "pipe")
    with HostProcess.start({**environ, "PIPE": str(app / "pipe")}, app=app) as host:
        answers: list[str] = []
        client = threading.Thread(target=lambda: answers.append(requests.get(f"{host.url}/api/hold", timeout=60).text))
        client.start()
        host.lines.wait_for(lambda lines: any("holding" in line for line in lines))

        os.kill(host.pid, how)
        host.lines.wait_for(lambda lines: any("finishes what is in flight" in line for line in lines))
        (app / "pipe").write_text("held")

        assert host.wait(30)
        assert host.exit_code == 0
        client.join()
    assert answers == ["held"]


def test_kill_and_restart_come_back_on_the_same_port(app: Path, environ: dict[str, str]) -> None:
    """The sequence of a crash and a new start."""
    with HostProcess.start(environ, app=app) as host:
        url = host.url
        host.kill()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/api/hello", timeout=5)

        host.restart()

        assert host.url == url
        assert requests.get(f"{url}/api/hello", timeout=10).text == "hello"


def test_ends_with_its_parent(app: Path, environ: dict[str, str]) -> None:
    """The end of the pipe is sufficient."""
    command = [sys.executable, "-m", "local.host", "--app", str(app), "--port", "0", "--with-parent"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as host:
        assert host.stdin
        host.stdin.close()

        assert host.wait(30) == 0


def test_ends_with_a_parent_that_no_longer_reads(environ: dict[str, str]) -> None:
    """The sequence of a killed start: the repository's app may still write output."""
    settings = {"BRIDGE_POLL_SCHEDULE": "* * * * * *", "AzureWebJobsStorage": environ["AzureWebJobsStorage"]}
    command = [sys.executable, "-u", "-m", "local.host", "--app", str(REPOSITORY), "--port", "0", "--with-parent"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**environ, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as host:
        assert host.stdin
        assert host.stdout
        assert any("listens on" in line for line in host.stdout)
        host.stdout.close()
        host.stdin.close()

        assert host.wait(40) in (0, 120)  # 120 means that Python could not flush the output at exit


def test_failed_start_is_one_line_and_exit_code_1(make_app: Callable[..., Path], environ: dict[str, str]) -> None:
    """On Azure, an app with an indexing error would have no functions."""
    folder = make_app("import no_such_module", head="")

    done = subprocess.run(
        [sys.executable, "-m", "local.host", "--app", str(folder)],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("the app does not index: ModuleNotFoundError: No module named 'no_such_module'")


def test_parent_process_gets_the_reason(make_app: Callable[..., Path], environ: dict[str, str]) -> None:
    """The local start prints the reason."""
    folder = make_app("import no_such_module", head="")

    with pytest.raises(LocalError, match="the function host does not start: the app does not index: Module"):
        HostProcess.start(environ, app=folder)
