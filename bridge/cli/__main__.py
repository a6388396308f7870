"""`python -m bridge.cli`: the command line in a clone. The project's wheel installs the same as a command."""

import sys

_NEEDED = frozenset({"cryptography", "idna", "requests", "rich", "typer"})
_MISUSED = 2


def main() -> int:
    """Run the command line. Returns 2 after one line of explanation if a required library is not installed."""
    try:
        from bridge.cli.app import run  # its imports may be missing
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _NEEDED:
            raise
        sys.stderr.write(
            f"the command line needs {name}: `make start` installs it here, and `pip install .` anywhere\n"
        )
        return _MISUSED
    return run()


if __name__ == "__main__":
    sys.exit(main())
