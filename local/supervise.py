"""Runs a program that must not outlive its parent: `python -m local.supervise COMMAND ...`.

Some programs, like Microsoft's function host, do not notice the end of their standard input. This process does: at the
end of input, or on SIGTERM, the program gets SIGTERM. Processes that the program leaves behind get SIGTERM as well, so
this process must lead a process group, which `local.child.Child` ensures.
"""

import os
import signal
import subprocess
import sys
import threading

from local.child import wait_for_end_of_input


def main() -> int:
    """Run the command to the end, and return the exit code."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=wait_for_end_of_input, args=(stop,), daemon=True).start()
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_terminate, args=(stop, process), daemon=True).start()
    exit_code = process.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    return exit_code


def _terminate(stop: threading.Event, process: "subprocess.Popen[bytes]") -> None:
    stop.wait()
    process.terminate()


if __name__ == "__main__":
    sys.exit(main())
