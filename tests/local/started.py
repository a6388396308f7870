"""A local start as a process, for tests that watch it, press Ctrl-C and break its parts."""

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
    """A local start that was begun, and what it says."""

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
        """Wait until it says something."""
        self.lines.wait_for(lambda lines: any(text in line for line in lines), timeout)

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

    def descendants(self) -> list[int]:
        """Return the processes that it started, and those that they started."""
        return [each.pid for each in psutil.Process(self._command.pid).children(recursive=True)]

    def ended_with(self, timeout: float = MAX_WAIT) -> int | None:
        """Wait for its end and return its exit code."""
        assert self._command.wait(timeout)
        return self._command.exit_code

    def clean_up(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        self._command.stop(MAX_WAIT)


_NEVER_GIVEN_OUT = (20_000, 32_000)


def free_ports(count: int) -> int:
    """Return the first of some free ports in a row.

    Below those that the system gives out by itself, where a connection of anybody's could take one meanwhile.
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
