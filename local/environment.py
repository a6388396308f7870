"""Make the virtual environment that everything runs in, once: `python3 local/environment.py FOLDER`.

A lock after it makes another one, for a tool whose versions must not mix with ours. Uses nothing but the standard
library, since nothing else is installed yet. What is installed already is not fetched again: after the first time, no
network is needed. Every file that is installed has to match a hash of its lock.
"""

import subprocess
import sys
import venv
from pathlib import Path

_REPOSITORY = Path(__file__).parents[1]
_OURS = ("requirements-local.txt", "requirements-dev.txt")


def main() -> int:
    """Install what the locks say, unless it is there; 1, with one line, when that is impossible."""
    folder = Path(sys.argv[1])
    if folder.is_symlink():
        print(f"{folder} is a link, and to install there begins with emptying what it points to", file=sys.stderr)
        return 1
    stamp = folder / ".installed"
    locks = [_REPOSITORY / name for name in sys.argv[2:] or _OURS]
    wanted = "".join(path.read_text(encoding="utf-8") for path in locks)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing the dependencies into {folder}, once: about a minute …", flush=True)
        if not _install(folder, locks):
            print(f"installing into {folder} failed: is a package index in reach? Say make again.", file=sys.stderr)
            return 1
    stamp.write_text(wanted, encoding="utf-8")
    return 0


def _install(folder: Path, locks: list[Path]) -> bool:
    """Begin from nothing; a run that is broken off leaves no stamp behind, and the next one begins again."""
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--require-hashes", *(f"--requirement={path}" for path in locks)], check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
