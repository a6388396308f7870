"""What surrounds a command: the environment, time, and what it writes on. Tests make one of their own."""

import os
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from bridge.domain.time import Clock, whole_millis


def _now() -> datetime:
    return whole_millis(datetime.now(UTC))  # noqa: TID251 - a command's own composition root


@dataclass(slots=True, kw_only=True)
class CliContext:
    """By default the real ones."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Clock = _now
    #: Seconds, for waits.
    stopwatch: Callable[[], float] = time.monotonic
    #: Waits, in seconds.
    sleep: Callable[[float], None] = time.sleep
    #: Shows a URL in the browser; False if there is no browser.
    browse: Callable[[str], bool] = webbrowser.open
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    #: Whether the command was asked for JSON, before or after its name.
    as_json: bool = False
