"""Docstrings, comments and Markdown stay easy to read: limits for habits that make English hard to follow.

A rate counts the matches of a habit per 1,000 words of a tree. A failure lists the passages to rewrite: give a
sentence a subject and a noun, instead of another word for the same pronoun.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: The trees, each with the patterns of its files.
TREES: Mapping[str, tuple[str, ...]] = {
    "bridge": ("bridge/**/*.py",),
    "local": ("local/**/*.py",),
    "tests": ("tests/**/*.py",),
    "documents": ("*.md", "docs/**/*.md", "bridge/**/*.md", "local/**/*.md"),
}


@dataclass(frozen=True, slots=True)
class Habit:
    """A habit, and how often a tree may have it."""

    pattern: re.Pattern[str]
    #: Matches per 1,000 words.
    limit: float


def _words(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)


#: The limits hold for each tree. A match can be right, like a client that asks, or a question in a heading.
HABITS: Mapping[str, Habit] = {
    "vague persons": Habit(_words("nobody", "somebody", "anybody", "everybody", "whoever", "whom", "whose"), 0.7),
    "clauses as nouns": Habit(_words(r"(?:what|who) \w+"), 1.0),
    "things that speak": Habit(_words("tells?", "told", "hears?", "heard", "says?", "said", "asks?", "asked"), 0.6),
    "pronouns": Habit(_words("it", "its"), 15.0),
    "semicolons": Habit(re.compile(";"), 6.0),
    "phrases with a plainer form": Habit(_words("at the (?:most|least)", "of ours", "by themselves"), 0.0),
}

#: Directories of other projects and of generated files.
_FOREIGN = frozenset({"node_modules", "__pycache__", ".venv"})
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")


@dataclass(frozen=True, slots=True)
class Passage:
    """A docstring, a comment or a paragraph."""

    place: str
    text: str


def _of_python(path: Path) -> Iterator[tuple[int, str]]:
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.search(r"noqa|type: ignore", token.string):
            yield token.start[0], token.string.lstrip("#: ")


def _of_markdown(path: Path) -> Iterator[tuple[int, str]]:
    blanked = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    for number, line in enumerate(blanked.splitlines(), 1):
        yield number, _CODE.sub("code", line)


def passages_of(tree: str) -> Sequence[Passage]:
    """Return all passages of a tree."""
    paths = sorted({path for pattern in TREES[tree] for path in ROOT.glob(pattern) if not _FOREIGN & {*path.parts}})
    return [
        Passage(f"{path.relative_to(ROOT)}:{number}", text)
        for path in paths
        for number, text in (_of_markdown(path) if path.suffix == ".md" else _of_python(path))
        if text
    ]


def found_in(passages: Sequence[Passage], pattern: re.Pattern[str]) -> list[str]:
    """Return the place of each match, with the words around."""
    return [
        f"{each.place}: {each.text[max(match.start() - 40, 0) : match.end() + 40]!r}"
        for each in passages
        for match in pattern.finditer(each.text)
    ]


@pytest.mark.parametrize("tree", TREES)
def test_a_tree_keeps_its_habits_within_the_limits(tree: str) -> None:
    """A failure lists the passages of each habit beyond its limit."""
    passages = passages_of(tree)

    found = {name: found_in(passages, habit.pattern) for name, habit in HABITS.items()}

    words = sum(len(re.findall(r"[A-Za-z']+", each.text)) for each in passages)
    assert {name: places for name, places in found.items() if len(places) * 1000 / words > HABITS[name].limit} == {}


def test_a_passage_with_a_habit_is_found() -> None:
    """In docstrings and comments, and in Markdown outside of code."""
    passages = [Passage("here", "Nobody asks what it is; so it ends.")]

    found = {name: len(found_in(passages, habit.pattern)) for name, habit in HABITS.items()}

    assert found == {
        "vague persons": 1,
        "clauses as nouns": 1,
        "things that speak": 1,
        "pronouns": 2,
        "semicolons": 1,
        "phrases with a plainer form": 0,
    }
