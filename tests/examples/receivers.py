"""The receivers of `examples/` as processes, started with the commands of their README."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.azurite.install import node_with_packages
from local.host.process import HostProcess
from local.service import Service
from local.settings import REPOSITORY

EXAMPLES = REPOSITORY / "examples"

#: Ends a Python program run with `-m` when the parent process is gone, for any reason.
_END_WITH_PARENT = """
import os, runpy, sys, threading
threading.Thread(target=lambda: sys.stdin.buffer.read() or os._exit(1), daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""

_ADDRESS = re.compile(r"(?:Uvicorn running|listening) on (http://127\.0\.0\.1:\d+)")


class ExampleProcess(Service):
    """A receiver with a web server that prints the address."""

    stop_timeout = 10.0

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        super().__init__(folder=EXAMPLES / name, environ=environ, on_end=lambda: None)
        self.name = f"the {name} example"
        self.url = ""
        self._command = command
        self.launch()

    def command(self) -> Sequence[str]:
        """Return the command of the README, on a free port."""
        return self._command

    def hear(self, line: str) -> bool:
        """Parse the address from a line."""
        found = _ADDRESS.search(line)
        if found:
            self.url = found[1]
        return found is not None


class Example:
    """A running receiver: the callback URL and the output."""

    def __init__(self, service: ExampleProcess | HostProcess, path: str) -> None:
        self.service = service
        self._path = path

    @property
    def url(self) -> str:
        """The callback URL."""
        return self.service.url + self._path

    def count(self, text: str) -> int:
        """Count the lines so far that end in the text."""
        return sum(line.endswith(text) for line in self.service.lines.entries)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the text was printed the given number of times."""
        self.service.lines.wait_for(lambda lines: sum(line.endswith(text) for line in lines) >= times)


def start(name: str, settings: Mapping[str, str], *, inbox: Path, storage: str) -> Example:
    """Start a receiver with the settings of the README, without other relevant variables."""
    environ = {"PATH": os.environ["PATH"], "INBOX": str(inbox), "PORT": "0", "PYTHONUNBUFFERED": "1", **settings}
    if name == "azure-function":
        host = HostProcess.start({**environ, "AzureWebJobsStorage": storage}, app=EXAMPLES / name)
        return Example(host, "/api/callback")
    if name == "fastapi":
        command = [sys.executable, "-c", _END_WITH_PARENT, "uvicorn", "receiver:app", "--port", "0"]
    else:
        node = node_with_packages(EXAMPLES / name, "Express for the example, once", print)
        guard = REPOSITORY / "local" / "azurite" / "exit_with_parent.js"
        command = [str(node), "--require", str(guard), "receiver.js"]
    return Example(ExampleProcess(name, command, environ), "/callback")
