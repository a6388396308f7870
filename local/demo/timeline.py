"""The output of the demo and of the start: one line per event, when it happens."""

from collections.abc import Callable, Mapping
from typing import TextIO

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_NAME_COLOURS = ("\x1b[36m", "\x1b[35m", "\x1b[33m")
_GOOD = "\x1b[32m"
_BAD = "\x1b[31m"


class Timeline:
    """Lines with their time; in colour on a terminal, plain in a pipe or with NO_COLOR.

    `stamp` writes the time of a line from the seconds since the beginning.
    """

    def __init__(
        self,
        out: TextIO,
        clock: Callable[[], float],
        environ: Mapping[str, str],
        stamp: Callable[[float], str] = "{:5.1f} s".format,
    ) -> None:
        self._out = out
        self._clock = clock
        self._stamp = stamp
        self._began = 0.0
        self._in_colour = out.isatty() and not environ.get("NO_COLOR")
        self._names: dict[str, int] = {}

    def begin(self) -> None:
        """Start the clock now: installing missing parts can take a minute that is not the demo's."""
        self._began = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    def tell(self, text: str) -> None:
        """Print a text that belongs to no operation."""
        print(text, file=self._out, flush=True)

    def happens(self, name: str, text: str, *, good: bool = False, bad: bool = False) -> None:
        """Print an event of an operation at once."""
        number = self._names.setdefault(name, len(self._names))
        colour = _GOOD if good else _BAD if bad else ""
        time = self._coloured(self._stamp(self.elapsed), _DIM)
        who = self._coloured(f"{name:<8}", _NAME_COLOURS[number % len(_NAME_COLOURS)])
        self.tell(f"{time}  {who} {self._coloured(text, colour)}")

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if colour and self._in_colour else text
