"""A local start as a process, for tests that check the output, press Ctrl-C and stop parts."""

import os
import random
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import requests

from local.child import Child
from local.record import MAX_WAIT, Record
from local.settings import REPOSITORY, Settings

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
    """A local start with its output."""

    def __init__(self, environ: dict[str, str], how: str = "start") -> None:
        self.settings = Settings.read(environ)
        self.lines: Record[str] = Record()
        self._command = Child(
            [sys.executable, "-m", "local", how],
            cwd=REPOSITORY,
            env={**os.environ, **environ},
            on_line=self.lines.add,
        )

    def until(self, text: str, timeout: float = MAX_WAIT) -> None:
        """Wait until a text is printed."""
        self.lines.wait_for(lambda lines: any(text in line for line in lines), timeout)

    def get(self, path: str) -> str:
        """Send a GET to the function app."""
        return requests.get(f"http://127.0.0.1:{self.settings.port}/api/{path}", timeout=60).text

    def children(self) -> list[int]:
        """Return the child processes. Linux only."""
        pid = self._command.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def signal(self, how: signal.Signals) -> None:
        """Send a signal like Ctrl-C."""
        os.kill(self._command.pid, how)

    def descendants(self) -> list[int]:
        """Return all descendant processes."""
        return [each.pid for each in psutil.Process(self._command.pid).children(recursive=True)]

    def ended_with(self, timeout: float = MAX_WAIT) -> int | None:
        """Wait for the end. Returns the exit code."""
        assert self._command.wait(timeout)
        return self._command.exit_code

    def clean_up(self) -> None:
        """Stop all processes, whatever the result of the test."""
        self._command.stop(MAX_WAIT)


_NEVER_GIVEN_OUT = (20_000, 32_000)


def free_ports(count: int) -> int:
    """Return the first of several consecutive free ports.

    The ports are below the range that the system assigns to connections.
    """
    while True:
        first = random.randrange(*_NEVER_GIVEN_OUT)
        with ExitStack() as held:
            try:
                for offset in range(count):
                    held.enter_context(socket.create_server(("127.0.0.1", first + offset)))
            except OSError:
                continue
            return first
