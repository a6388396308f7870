"""Make the virtual environment that everything runs in, once: `python3 -m local.environment FOLDER [LOCK ...]`.

`--for-start` installs the packages of `make start` and `make demo` alone. Without it the packages of the tests and
tools follow. A lock after the folder makes another environment, for a tool whose versions must not mix with ours.

Uses the standard library alone, since nothing else is installed yet. Installed packages are not fetched again: after
the first time, no network is needed. Every file that is installed has to match a hash of its lock.
"""

import argparse
import signal
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from local.progress import install_with_pip, pinned

_REPOSITORY = Path(__file__).parents[1]
_OF_THE_START = "requirements-local.txt"
_OF_THE_TESTS = "requirements-dev.txt"
#: Each stamp holds the text of the locks that are installed; the second one is of the packages of the start alone.
_STAMPS = (".installed", ".installed-start")
#: The exit code of a command that Ctrl-C has ended.
_INTERRUPTED = 130


def main() -> int:
    """Install the packages of the locks, unless they are there; 1, with one line, if that is impossible."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m local.environment", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("locks", nargs="*", default=[_OF_THE_START, _OF_THE_TESTS])
    parser.add_argument("--for-start", action="store_true")
    arguments = parser.parse_args()
    locks = [_OF_THE_START] if arguments.for_start else arguments.locks
    stamp = arguments.folder / _STAMPS[arguments.for_start]
    try:
        return _make(arguments.folder, [_REPOSITORY / each for each in locks], stamp)
    except KeyboardInterrupt:
        print("\nstopped. The next make installs what is missing.", file=sys.stderr)
        return _INTERRUPTED


def _make(folder: Path, locks: Sequence[Path], stamp: Path) -> int:
    if folder.is_symlink():
        print(f"{folder} is a link, and an installation would first delete the contents of its target", file=sys.stderr)
        return 1
    texts = [path.read_text(encoding="utf-8") for path in locks]
    if not _has(folder, "".join(texts)):
        if output := _install(folder, locks, texts):
            print(*output, sep="\n", file=sys.stderr)
            print(f"installing into {folder} failed: check the package index, and run make again.", file=sys.stderr)
            return 1
        stamp.write_text("".join(texts), encoding="utf-8")
    stamp.touch()
    return 0


def _has(folder: Path, text: str) -> bool:
    """Whether the locks with that text are installed, alone or with more after them."""
    stamps = [folder / name for name in _STAMPS]
    return any(each.read_text(encoding="utf-8").startswith(text) for each in stamps if each.is_file())


def _install(folder: Path, locks: Sequence[Path], texts: Sequence[str]) -> list[str]:
    """Install the locks, and return pip's last words if that fails.

    The packages of the tests are added to those of the start: no package is in both locks. Any other change begins
    with an empty folder. A run that is broken off leaves no stamp behind, and the next run begins again.
    """
    if len(locks) > 1 and not (folder / _STAMPS[0]).exists() and _has(folder, texts[0]):
        locks, texts = locks[1:], texts[1:]
    else:
        print(f"making the virtual environment {folder} …", flush=True)
        venv.create(folder, clear=True, with_pip=True)
    print(f"installing packages into {folder}, once:", flush=True)
    requirements = ["--require-hashes", *(f"--requirement={path}" for path in locks)]
    return install_with_pip(folder / "bin" / "python", requirements, sum(map(pinned, texts)))


if __name__ == "__main__":
    sys.exit(main())
