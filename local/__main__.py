"""Run the bridge on this machine: `python -m local start`, `host`, `demo` or `settings`."""

import importlib
import signal
import sys


def main() -> int:
    """Run `local.commands`. Its imports take a second, in which Ctrl-C ends this process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return int(importlib.import_module("local.commands").main())


if __name__ == "__main__":
    sys.exit(main())
