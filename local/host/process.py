"""The host as a separate process, for the local start and for tests that stop, kill and restart it."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from local.service import Service

_READY = re.compile(r"the function host listens on (http://\S+)")
_REPOSITORY = Path(__file__).parents[2]


class HostProcess(Service):
    """`python -m local.host`. Created by `start`, stopped at the end of a `with` block.

    `stop` lets the host finish invocations in flight. `kill` is a crash. `restart` uses the same port. `lines` has all
    output, including log lines.
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
        #: The port, fixed after the first start.
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
        """Start the app of a folder with these settings and return when the app answers.

        `environ` is the app's whole environment. Raises LocalError with the reason if the host refuses to start.
        `on_line` is called with each line of output, and `on_end` if the host ends unexpectedly, both from another
        thread.
        """
        arguments = ["--app", str(app.resolve()), *(["--keys", *keys] if keys else [])]
        host = cls(environ=environ, arguments=arguments, port=port, on_line=on_line, on_end=on_end)
        host.launch()
        return host

    @property
    def url(self) -> str:
        """The URL of the host, without the route prefix."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command. The port is fixed after the first start."""
        options = ["--port", str(self.port), "--with-parent", *self._arguments]
        return [sys.executable, "-u", "-m", "local.host", *options]

    def hear(self, line: str) -> bool:
        """Pass the line on, and note the port."""
        self._on_line(line)
        ready = _READY.search(line)
        if ready:
            self.port = int(ready[1].rpartition(":")[2])
        return ready is not None
