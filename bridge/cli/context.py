"""The context of a command (environment, time, output), the command's name, and the examples of the help texts."""

import os
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from bridge.domain.time import Clock, whole_millis


def _now() -> datetime:
    return whole_millis(datetime.now(UTC))


@dataclass(slots=True, kw_only=True)
class CliContext:
    """The context of a command. The defaults are the real environment, and tests pass replacements."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Clock = _now
    #: A monotonic clock in seconds, for waits.
    stopwatch: Callable[[], float] = time.monotonic
    #: Waits, in seconds.
    sleep: Callable[[float], None] = time.sleep
    #: Shows a URL in the browser. Returns False if there is no browser.
    browse: Callable[[str], bool] = webbrowser.open
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    #: Whether the option for JSON was given, before or after the command's name.
    as_json: bool = False


#: The name of the command, as in pyproject.toml.
PROGRAM = "speech-webhooks"

#: Examples for the help text of each command. ID stands for the id of a registration. The tests run each of them, in
#: this order, against a started app.
EXAMPLES: Mapping[str, Sequence[str]] = {
    "register": (
        "register --operation-id my-video --callback-url http://127.0.0.1:7072/callback --wait",
        "register --operation-id my-film --callback-url http://127.0.0.1:7072/callback --group vp9-10min",
    ),
    "show": ("show ID", "show my-video"),
    "message": ("message ID", "message ID --headers"),
    "list": (
        "list --state delivered",
        "list --state dead,pending --host hooks.example.com --outcome 5xx --since 2h",
        "list --operation-id my-video --json",
    ),
    "watch": ("watch ID --timeout 30m",),
    "redeliver": (
        "redeliver ID",
        "redeliver --pending --dead --host hooks.example.com --dry-run",
        "redeliver --pending --dead --host hooks.example.com --since 2h",
    ),
    "cancel": ("cancel ID",),
    "erase": ("erase ID",),
    "listen": (
        "listen --forward http://127.0.0.1:7072/callback",
        "listen --forward http://127.0.0.1:7072/callback --since 10m",
    ),
    "ping": ("ping http://127.0.0.1:7072/callback",),
    "verify": ("verify http://127.0.0.1:7072/callbacks --callback-url http://127.0.0.1:7072/callback",),
    "secret": ("secret http://127.0.0.1:7072/callback",),
    "status": ("status",),
    "doctor": ("doctor",),
    "open": ("open",),
    "keys list": ("keys list",),
    "keys new": ("keys new",),
}


def epilog(command: str) -> str:
    """Return the end of a command's help text, with one line per example."""
    lines = "\n".join(f"  {PROGRAM} {line}" for line in EXAMPLES[command])
    return f"\b\nExamples:\n{lines}"
