"""Run the bridge on this machine: `python -m local start`, `demo`, or `settings` for `func start`.

`host` starts the same as `start`, in Microsoft's function host. `storage` prints the connection string of the storage
that `start` starts.
"""

import argparse
import os
import sys
from collections.abc import Mapping

from local.demo import demo
from local.errors import LocalError
from local.settings import REPOSITORY, Settings, app_environment, write_local_settings
from local.start import start, stopped_by_signals


def main() -> int:
    """Run the command. Returns 1 after one line with the reason if that fails."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("what", choices=["start", "host", "demo", "settings", "storage"])
    what = parser.parse_args().what
    try:
        match what:
            case "start":
                start(os.environ, _say, host="local")
            case "host":
                start(os.environ, _say, host="microsoft")
            case "demo":
                with stopped_by_signals():
                    demo(os.environ)
            case "settings":
                _write_settings(os.environ)
            case _:
                _say(Settings.read(os.environ).azurite_ports.connection_string)
    except (LocalError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _write_settings(environ: Mapping[str, str]) -> None:
    path = REPOSITORY / "local.settings.json"
    write_local_settings(path, app_environment(Settings.read(environ), environ), environ)
    _say(f"wrote {path}: `func start` now runs as `make start` does, beside it or with its storage")


def _say(text: str) -> None:
    """Print at once, in a pipe too."""
    print(text, flush=True)
