"""Renews the locks: `python -m local.locks [--upgrade]`, called by `make lock`.

A lock has exact versions and the hashes of their files, and no address of a registry. `requirements.txt` is the lock of
the deployed app. It has only the hashes of wheels for the deployed Python on Linux. Another Python would need other
files, so `pip` refuses to build with it. The other locks are universal: they apply to Python 3.11 and newer, on every
system.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from local.settings import REPOSITORY

#: The deployed platform: `runtime` in `infra/modules/app.bicep`, on Linux with at least this version of glibc.
DEPLOYED_PYTHON = "3.13"
_DEPLOYED_PLATFORM = "x86_64-manylinux_2_28"
_OLDEST_PYTHON = "3.11"


def main() -> int:
    """Write all locks. Returns the exit code of uv after a failure to find compatible versions."""
    parser = argparse.ArgumentParser(prog="python -m local.locks", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions, not those of the locks")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    try:
        _universal("requirements-local.txt", "requirements.in", "requirements-local.in", *upgrade)
        (REPOSITORY / "requirements.txt").write_text(_deployed(), encoding="utf-8")
        local = ("-c", "requirements-local.txt")
        not_again = (f"--no-emit-package={name}" for name in _names("requirements-local.txt"))
        wanted = ("requirements.in", "requirements-local.in", "requirements-dev.in")
        _universal("requirements-dev.txt", *wanted, *local, *not_again, *upgrade)
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
    """Return the lock of the app's wheels on Azure, with the versions of the universal lock."""
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
    """Run the uv beside this Python. Raises CalledProcessError after uv has printed the reason."""
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
