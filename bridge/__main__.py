"""`python -m bridge`: the command line, where what it needs is installed."""

import sys

_NEEDED = frozenset({"typer", "rich"})
_MISUSED = 2


def main() -> int:
    """Run the command line; 2 with one line where its extra is not installed."""
    try:
        from bridge.cli.app import run  # noqa: PLC0415 - what it imports may not be there
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.stderr.write(
            "the command line needs typer and rich: `make start` installs them, and so does pip install '.[cli]'\n"
        )
        return _MISUSED
    return run()


if __name__ == "__main__":
    sys.exit(main())
