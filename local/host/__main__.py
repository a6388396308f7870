"""Run a function app: `python -m local.host [--app DIR] [--port N] [--keys KEY]`."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from local.child import wait_for_end_of_input
from local.errors import LocalError
from local.host.host import Host
from local.host.worker import belongs_to_an_invocation

#: The time limit in seconds to finish invocations in flight.
STOP_TIMEOUT = 20.0

_LOG_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_log = logging.getLogger("host")


def main() -> int:
    """Run the app until a signal. Returns 0 after a clean stop, or 1 with the reason if the app cannot start."""
    arguments = _arguments()
    logging.basicConfig(stream=sys.stdout, format=_LOG_LINE, datefmt="%H:%M:%S")
    logging.getLogger().handlers[0].addFilter(belongs_to_an_invocation)
    ended = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: ended.set())
    if arguments.with_parent:
        threading.Thread(target=wait_for_end_of_input, args=(ended,), daemon=True).start()
    try:
        host = Host(arguments.app, os.environ, port=arguments.port, keys=arguments.keys)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    logging.getLogger().setLevel(host.options.log_level)
    for name in filter(None, os.environ.get("DEBUG_LOGGERS", "").split(",")):
        logging.getLogger(name).setLevel(logging.DEBUG)
    names = ", ".join(function.name for function in host.functions)
    print(f"the function host listens on {host.url} with {names}", flush=True)
    ended.wait()
    with contextlib.suppress(OSError):  # the reader of this output may have been killed
        print("the function host finishes what is in flight, and stops", flush=True)
    if not host.stop(STOP_TIMEOUT):
        _log.warning("stopped with work in flight after %s s", STOP_TIMEOUT)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(0)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.host", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py and host.json")
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free one")
    parser.add_argument("--keys", nargs="+", default=[], metavar="KEY", help="function keys; none: all may call")
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input ends")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
