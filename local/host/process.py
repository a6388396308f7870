"""The host as a process of its own, for the local start and for tests that stop, kill and restart it."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from local.service import Service

_READY = re.compile(r"the function host listens on (http://\S+)")
_REPOSITORY = Path(__file__).parents[2]


class HostProcess(Service):
    """`python -m local.host`. Made by `start`; a context manager that stops it.

    `stop` lets it finish what is in flight; `kill` is a crash; `restart` takes the same port again. `lines` has
    all that it printed, log lines too.
    """

    name = "the function host"
    stop_timeout = 25.0

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        arguments: Sequence[str],
        port: int,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(folder=_REPOSITORY, environ=environ, on_end=on_end)
        self._arguments = arguments
        self._on_line = on_line
        #: Where it listens, from the first start on.
        self.port = port

    @classmethod
    def start(
        cls,
        environ: Mapping[str, str],
        *,
        app: Path = _REPOSITORY,
        port: int = 0,
        keys: Sequence[str] = (),
        on_line: Callable[[str], None] = lambda _: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> Self:
        """Start the app of a folder with these settings and return when it answers.

        `environ` is all that it sees of the environment. Raises LocalError with the reason when the host refuses
        to start. `on_line` is called with each line that it prints, and `on_end` when it ends without being told
        to, both from another thread.
        """
        arguments = ["--app", str(app.resolve()), *(["--keys", *keys] if keys else [])]
        host = cls(environ=environ, arguments=arguments, port=port, on_line=on_line, on_end=on_end)
        host.launch()
        return host

    @property
    def url(self) -> str:
        """Where it answers HTTP, without the route prefix."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command, with the port that it has once it had one."""
        options = ["--port", str(self.port), "--with-parent", *self._arguments]
        return [sys.executable, "-u", "-m", "local.host", *options]

    def hear(self, line: str) -> bool:
        """Pass the line on, and note the port."""
        self._on_line(line)
        ready = _READY.search(line)
        if ready:
            self.port = int(ready[1].rpartition(":")[2])
        return ready is not None
