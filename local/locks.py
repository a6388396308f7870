"""Write the locks anew: `python -m local.locks [--upgrade]`, which is `make lock`.

A lock has exact versions and the hashes of their files, and no address of a registry. `requirements.txt` is the lock of
the deployed app. It has the hashes of those wheels alone that the deployed Python on Linux installs. Any other Python
would need other files, so that `pip` refuses to build with it. The other locks are universal: they hold for Python 3.11
and newer, on every system.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from local.settings import REPOSITORY

#: What Azure runs: `runtime` in `infra/modules/app.bicep`, on Linux with a C library of at least that version.
DEPLOYED_PYTHON = "3.13"
_DEPLOYED_PLATFORM = "x86_64-manylinux_2_28"
_OLDEST_PYTHON = "3.11"


def main() -> int:
    """Write all locks; the exit code of uv where it finds no versions that go together."""
    parser = argparse.ArgumentParser(prog="python -m local.locks", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions, not those of the locks")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    try:
        _universal("requirements-local.txt", "requirements.in", *upgrade)
        (REPOSITORY / "requirements.txt").write_text(_deployed(), encoding="utf-8")
        local = ("-c", "requirements-local.txt")
        not_again = (f"--no-emit-package={name}" for name in _names("requirements-local.txt"))
        _universal("requirements-dev.txt", "requirements.in", "requirements-dev.in", *local, *not_again, *upgrade)
        tools = ("requirements-tools.txt", "requirements-tools.in", *local, "-c", "requirements-dev.txt")
        _universal(*tools, *upgrade)
        _universal("infra/checkov/requirements.txt", "infra/checkov/requirements.in", *upgrade)
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def _universal(target: str, *arguments: str) -> None:
    options = ("--universal", "--python-version", _OLDEST_PYTHON, "--generate-hashes", "--output-file", target)
    _compile(*options, *arguments)


def _deployed() -> str:
    """Lock the wheels that fit the app on Azure, at the versions of the universal lock."""
    platform = ("--python-version", DEPLOYED_PYTHON, "--python-platform", _DEPLOYED_PLATFORM, "--only-binary", ":all:")
    text = _compile(*platform, "-c", "requirements-local.txt", "--format", "pylock.toml", "requirements.in")
    lines = [f"# Written by `make lock`, for Python {DEPLOYED_PYTHON} on Azure and for no other."]
    for package in tomllib.loads(text)["packages"]:
        hashes = sorted(f"--hash=sha256:{wheel['hashes']['sha256']}" for wheel in package["wheels"])
        lines.append(" \\\n    ".join((f"{package['name']}=={package['version']}", *hashes)))
    return "\n".join(lines) + "\n"


def _names(lock: str) -> list[str]:
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    return sorted(set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)))


def _compile(*arguments: str) -> str:
    """Run uv, which is installed beside this Python; raises CalledProcessError, and uv has said why."""
    uv = Path(sys.executable).with_name("uv")
    common = ("--quiet", "--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock")
    return subprocess.run(
        [uv, "pip", "compile", *common, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "UV_NO_CONFIG": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
