"""Microsoft's own function host as a process, instead of the one in this folder."""

import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Self

from local.errors import LocalError
from local.service import Service

#: A function key for `make host`: that host requires keys, like Azure. The key is valid only for this machine's host.
LOCAL_KEY = "local-key"

_REPOSITORY = Path(__file__).parents[2]
_READY = "Application started. Press Ctrl+C to shut down."
_READY_OF_CORE_TOOLS = "Worker process started and initialized."
_WORKER_ENDED, _WORKER_EXCEPTION = "Language Worker Process exited.", "---> System.Exception: "
_HEAD = re.compile(r"(?P<level>trce|dbug|info|warn|fail|crit): (?P<category>.+)\[\d+\]")
_OF_APP = re.compile(r"Function\.(?P<function>\w+)\.User")
_INDENT = " " * 6
_LEVELS = {"trce": "DEBUG", "dbug": "DEBUG", "info": "INFO", "warn": "WARNING", "fail": "ERROR", "crit": "CRITICAL"}


class MicrosoftHost(Service):
    """Microsoft's function host with its Python worker. Created by `start`, stopped at the end of a `with` block.

    `stop` lets the host finish invocations in flight. `kill` ends the host and the worker at once, like the loss of
    an instance. `restart` uses the same port and the same keys. `lines` has all output of the host.
    """

    name = "Microsoft's function host"
    start_timeout = 300.0
    stop_timeout = 60.0

    def __init__(
        self,
        *,
        command: Sequence[str],
        environ: Mapping[str, str],
        port: int,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(folder=_REPOSITORY, environ=environ, on_end=on_end)
        self._command = command
        self._console = _Console(on_line)
        self._ready_line = _READY if "functions-host" in command[0] else _READY_OF_CORE_TOOLS
        #: The port of the host.
        self.port = port

    @classmethod
    def start(  # noqa: PLR0913 - like HostProcess, with the place of the keys
        cls,
        environ: Mapping[str, str],
        *,
        state: Path,
        app: Path = _REPOSITORY,
        port: int = 0,
        keys: Sequence[str] = (),
        on_line: Callable[[str], None] = lambda _: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> Self:
        """Start the app of a folder with these settings and return when the app answers.

        `environ` is the app's whole environment, apart from a few settings of the host. `keys` are the function keys,
        kept in `state` with the host's log. Without any, the host makes one up. `on_line` is called with each line of
        the app and each warning of the host, in the form of `python -m local.host`. `on_end` is called if the host ends
        unexpectedly. Raises LocalError if there is no such host on PATH, or if it does not start.
        """
        port = port or _free_port()
        _write_keys(state, keys)
        own = {
            "HOME": os.environ.get("HOME", ""),
            "FUNCTIONS_STATE_DIR": str(state),
            # Otherwise a file that changes below the app would restart the host, like a deployment.
            "AzureFunctionsJobHost__fileWatchingEnabled": "false",
        }
        # The app's packages are installed for this interpreter. `make PYTHON=...` names another one in the environment.
        interpreter = {"PYTHON": sys.executable, "languageWorkers__python__defaultExecutablePath": sys.executable}
        host = cls(
            command=_command(app.resolve(), port),
            environ={**own, **environ, **interpreter},
            port=port,
            on_line=on_line,
            on_end=on_end,
        )
        host.launch()
        return host

    @property
    def url(self) -> str:
        """The URL of the host, without the route prefix."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command, under a process that ends the host when this process ends."""
        return [sys.executable, "-u", "-m", "local.supervise", *self._command]

    def hear(self, line: str) -> bool:
        """Show a line to the person if relevant, and kill a host if the worker ends before the host is ready.

        Such a host would retry for minutes, and then run without functions.
        """
        self._console.take(line)
        if _WORKER_ENDED in line and not self._ready:
            os.killpg(self.pid, signal.SIGKILL)
        return self._ready_line in line

    def reason(self) -> str:
        """Return the exception that ended the worker, if there is one."""
        exceptions = [line.strip() for line in self.lines.entries if _WORKER_EXCEPTION in line]
        return exceptions[0] if exceptions else super().reason()


class _Console:
    """Converts the host's console to lines like those of `python -m local.host`, without internal messages.

    A console entry is a line with level and category, followed by its indented text. For entries of the app all lines
    are shown, and for warnings of the host the first one. Lines of the host's storage client are left out.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._prefix = ""
        self._lines_left = 0.0

    def take(self, line: str) -> None:
        """Show a relevant line."""
        if head := _HEAD.fullmatch(line):
            of_app = _OF_APP.fullmatch(head["category"])
            level = _LEVELS[head["level"]]
            self._prefix = f"{time.strftime('%H:%M:%S')} {level} {of_app['function'] if of_app else 'host'}: "
            is_warning = level in {"WARNING", "ERROR", "CRITICAL"} and not head["category"].startswith("Azure.")
            self._lines_left = inf if of_app else float(is_warning)
        elif self._lines_left and line.startswith(_INDENT):
            self._show(self._prefix + line.removeprefix(_INDENT))
            self._prefix = "    "
            self._lines_left -= 1


def _command(app: Path, port: int) -> list[str]:
    """Return the command of the first host on PATH. Raises LocalError without one."""
    if found := shutil.which("functions-host"):
        return [found, str(app), str(port)]
    if found := shutil.which("func"):
        return [found, "start", "--script-root", str(app), "--port", str(port)]
    raise LocalError("no host of Microsoft's is on PATH: install Azure Functions Core Tools, which brings `func`.")


def _write_keys(state: Path, keys: Sequence[str]) -> None:
    """Write the host's file of keys, readable by the owner only."""
    folder = state / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    if not keys:
        return
    named = [{"name": f"key{number}", "value": key, "encrypted": False} for number, key in enumerate(keys)]
    master = {"name": "master", "value": f"master-{keys[0]}", "encrypted": False}
    path = folder / "host.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"masterKey": master, "functionKeys": named, "systemKeys": []}))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
