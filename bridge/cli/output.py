"""The output of a command: tables and colours for a terminal, plain lines for a pipe, JSON for a program."""

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bridge.cli.client import other_version
from bridge.cli.context import CliContext
from bridge.domain.text import printable
from bridge.domain.time import parse_instant

_SECOND, _MINUTE, _HOUR, _DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
#: The units, each with the shortest length that is written in it: "110 s" says more than "1 min".
_UNITS = ((2 * _DAY, _DAY, "days"), (2 * _HOUR, _HOUR, "h"), (2 * _MINUTE, _MINUTE, "min"))


def span(length: timedelta) -> str:
    """Write a length of time in one unit, rounded down: `45 s`, `12 min`, `3 h` or `5 days`."""
    for least, unit, name in _UNITS:
        if length >= least:
            return f"{length // unit} {name}"
    return f"{max(timedelta(0), length) // _SECOND} s"


def instant(text: object) -> datetime:
    """Parse a time of an answer. Raises Refused for anything else: this version of the bridge sends valid times."""
    read = parse_instant(text)
    if read is None:
        raise other_version(f"{str(text)[:40]!r} is not a time")
    return read


@dataclass(frozen=True, slots=True)
class Times:
    """Writes times as parts of a sentence. Each method raises Refused for a text that is not a time."""

    #: The current time, or None to write exact times only.
    now: datetime | None = None
    #: Whether the exact time follows the relative one.
    with_exact: bool = False

    def at(self, text: str) -> str:
        """Write a past time: `at 2026-11-23T12:00:00.000Z` or `4 min ago`."""
        return self._write(text, f"at {text}", _ago)

    def due(self, text: str) -> str:
        """Write a planned time: `at …`, `in 4 min`, or `now` once the time has come."""
        return self._write(text, f"at {text}", _in)

    def since(self, text: str) -> str:
        """Write the beginning of a state: `since …` or `for 4 min`."""
        return self._write(text, f"since {text}", lambda away: f"for {span(-away)}")

    def until(self, text: str) -> str:
        """Write the end of a state: `until …` or `for another 4 min`."""
        return self._write(text, f"until {text}", lambda away: f"for another {span(away)}")

    def past_cell(self, text: str) -> str:
        """Write a past time that stands alone: `2026-11-23T12:00:00.000Z` or `4 min ago`."""
        return self._write(text, text, _ago)

    def due_cell(self, text: str) -> str:
        """Write a planned time that stands alone."""
        return self._write(text, text, _in)

    def _write(self, text: str, exact: str, relative: Callable[[timedelta], str]) -> str:
        if self.now is None:
            return exact
        words = relative(instant(text) - self.now)
        return f"{words} ({text})" if self.with_exact else words


def _ago(away: timedelta) -> str:
    return f"{span(-away)} ago" if away <= -_SECOND else "just now"


def _in(away: timedelta) -> str:
    return f"in {span(away)}" if away >= _SECOND else "now"


class Tone(StrEnum):
    """The meaning of a line, shown as its colour on a terminal."""

    PLAIN = ""
    GOOD = "green"
    BAD = "red"
    WARN = "yellow"
    ADVICE = "cyan"
    QUIET = "dim"


@dataclass(frozen=True, slots=True)
class OutputLine:
    """A labelled line. An empty label continues the line before."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN


#: Everything outside of printable ASCII and line breaks: the candidates for escaping in JSON.
_BEYOND_ASCII = re.compile(r"[^ -~\n]")


class _Console(Console):
    """Leaves a reader that has ended to `Commands`, where the exit code depends on the command."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError again. Rich would end the process with code 1."""
        raise BrokenPipeError


class Output:
    """Writes the text of a command. All output passes through here and is made printable.

    An answer can contain escape sequences that a terminal would follow. In text each character that is not printable
    becomes a space, in JSON a JSON escape. Text is never read as markup, and never wrapped in a pipe.
    """

    def __init__(self, around: CliContext) -> None:
        self.as_json = around.as_json
        self._plain = around.out
        self._errors = around.err
        self._clock = around.clock
        self.console = _Console(file=around.out, markup=False, highlight=False, emoji=False, soft_wrap=True)

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads the output."""
        return self.console.is_terminal and not self.as_json

    def times(self, *, with_exact: bool = False) -> Times:
        """Return the way to write times: relative to now for a person, perhaps with the exact time behind."""
        return Times(self._clock(), with_exact) if self.is_terminal else Times()

    def json(self, value: object, *, compact: bool = False) -> None:
        """Write one JSON value, or with `compact` one of many, a line each."""
        text = json.dumps(value, ensure_ascii=False, indent=None if compact else 2)
        self._write(_BEYOND_ASCII.sub(_escaped, text))

    def say(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Write one line."""
        self.console.print(Text(_clean(text), style=tone.value))
        self._plain.flush()

    def note(self, text: str) -> None:
        """Write one line to standard error, as text even for programs."""
        self._errors.write(f"{_clean(text)}\n")

    def error(self, message: str, *, code: str) -> None:
        """Write the final error to standard error, as one line or as a JSON object."""
        if self.as_json:
            self._errors.write(json.dumps({"error": {"code": code, "message": message}}) + "\n")
        else:
            self.note(message)

    def lines(self, lines: Iterable[OutputLine], *, indent: str = "  ") -> None:
        """Write labelled lines with aligned texts."""
        kept = list(lines)
        width = max((len(each.label) for each in kept), default=0)
        for each in kept:
            label = f"{indent}{_clean(each.label):<{width}}  "
            self.console.print(Text.assemble((label, Tone.QUIET.value), (_clean(each.text), each.tone.value)))
        self._plain.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], tones: Sequence[Tone] = ()) -> None:
        """Write a table, with a tone for each row. A pipe gets a line per row with tabs between the cells."""
        if not self.is_terminal:
            for row in rows:
                self._write("\t".join(_clean(cell) for cell in row))
            return
        drawn = table_of(columns, rows, tones, width=self.console.width)
        self.console.print(drawn, soft_wrap=False, crop=False)

    def exactly(self, text: str) -> None:
        """Write a text exactly, in UTF-8 and without a line break at its end. A terminal gets it made printable."""
        if self.is_terminal:
            self.say(text)
            return
        binary = getattr(self._plain, "buffer", None)  # text files can have another encoding and other line breaks
        if binary is None:
            self._plain.write(text)
        else:
            binary.write(text.encode())
        self._plain.flush()

    def _write(self, text: str) -> None:
        """Write a line without rich's console, which would convert tabs to spaces."""
        self._plain.write(text + "\n")
        self._plain.flush()


def table_of(
    columns: Sequence[str], rows: Sequence[Sequence[str]], tones: Sequence[Tone] = (), *, width: int
) -> RenderableType:
    """Draw a table for a terminal. On a narrow terminal each row becomes a block below its first cell.

    No id and no time is ever broken, so that both can be copied.
    """
    cells = [[_clean(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    if sum(widths) + len(widths) > width:
        blocks = ("\n".join([first, *_wrapped("  ".join(filter(None, rest)), width)]) for first, *rest in cells)
        styled = zip_longest(blocks, tones, fillvalue=Tone.PLAIN)
        return Group(*(Text(block, tone, no_wrap=True, overflow="ignore") for block, tone in styled))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row, tone in zip_longest(cells, tones, fillvalue=Tone.PLAIN):
        table.add_row(*map(Text, row), style=tone)
    return table


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text at its spaces, for lines below another one."""
    wrapper = textwrap.TextWrapper(
        width=width, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text)


def _clean(text: str) -> str:
    """Replace each character that is not printable by a space. Indentation stays."""
    indent = len(text) - len(text.lstrip(" "))
    return " " * indent + printable(text[indent:], len(text))


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]
