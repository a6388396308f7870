"""`python -m bridge.cli`: the command line in a clone; the wheel of the project makes the same its command."""

import sys

_NEEDED = frozenset({"cryptography", "idna", "requests", "rich", "typer"})
_MISUSED = 2


def main() -> int:
    """Run the command line; 2 with one line if a library that it needs is not installed."""
    try:
        from bridge.cli.app import run  # noqa: PLC0415 - what it imports may not be there
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
