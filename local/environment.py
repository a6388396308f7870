"""Creates the virtual environment of the project once: `python3 local/environment.py FOLDER`.

With further arguments, the locks of another environment, for a tool with incompatible versions. Uses only the standard
library, since no other package is installed yet. Installed packages are not fetched again, so after the first time no
network is needed. Every installed file must match a hash of its lock.
"""

import subprocess
import sys
import venv
from pathlib import Path

_REPOSITORY = Path(__file__).parents[1]
_OURS = ("requirements-local.txt", "requirements-dev.txt")


def main() -> int:
    """Install the packages of the locks if necessary. Returns 1 after one line with the reason if that fails."""
    folder = Path(sys.argv[1])
    if folder.is_symlink():
        print(f"{folder} is a link, and an installation would first delete the contents of its target", file=sys.stderr)
        return 1
    stamp = folder / ".installed"
    locks = [_REPOSITORY / name for name in sys.argv[2:] or _OURS]
    wanted = "".join(path.read_text(encoding="utf-8") for path in locks)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing the dependencies into {folder}, once: about a minute …", flush=True)
        if not _install(folder, locks):
            print(f"installing into {folder} failed: check the package index, and run make again.", file=sys.stderr)
            return 1
    stamp.write_text(wanted, encoding="utf-8")
    return 0


def _install(folder: Path, locks: list[Path]) -> bool:
    """Install from scratch. An interrupted run leaves no stamp, and the next run starts again."""
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--require-hashes", *(f"--requirement={path}" for path in locks)], check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
