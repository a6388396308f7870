"""What a command writes: tables and colours for a terminal, plain lines for a pipe, JSON for a program."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.cli.surroundings import Surroundings


class Tone(StrEnum):
    """How a line is meant; on a terminal, its colour."""

    PLAIN = ""
    GOOD = "green"
    BAD = "red"
    WARN = "yellow"
    ADVICE = "cyan"
    QUIET = "dim"


@dataclass(frozen=True, slots=True)
class Line:
    """A labelled line; a label that is empty goes on where the one before it left off."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN


class Output:
    """Where a command writes. Text is never read as markup, and never wrapped in a pipe."""

    def __init__(self, around: Surroundings) -> None:
        self.as_json = around.as_json
        self._plain = around.out
        self.console = Console(file=around.out, markup=False, highlight=False, emoji=False, soft_wrap=True)

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks on."""
        return self.console.is_terminal and not self.as_json

    def json(self, value: Any, *, compact: bool = False) -> None:  # noqa: ANN401 - JSON
        """Write JSON: one value, or with `compact` one of many, a line each."""
        self._write(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))

    def say(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Write one line."""
        self.console.print(Text(text, style=tone.value))
        self._plain.flush()

    def lines(self, lines: Iterable[Line], *, indent: str = "  ") -> None:
        """Write labelled lines, their texts in one column."""
        kept = list(lines)
        width = max((len(each.label) for each in kept), default=0)
        for each in kept:
            label = f"{indent}{each.label:<{width}}  "
            self.console.print(Text.assemble((label, Tone.QUIET.value), (each.text, each.tone.value)))
        self._plain.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table, or for a pipe a line each, the cells between tabs."""
        if not self.is_terminal:
            for row in rows:
                self._write("\t".join(row))
            return
        self.console.print(table_of(columns, rows), soft_wrap=False)

    def _write(self, text: str) -> None:
        """Write a line as it is: the console would make spaces of tabs."""
        self._plain.write(text.encode(errors="replace").decode() + "\n")
        self._plain.flush()


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Draw a table for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
