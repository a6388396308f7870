"""Error kinds are enums, and error texts are for people. No code parses a text to find the cause of an error."""

import ast
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.domain.operation import PollErrorKind
from tests.support.modules import name_of

ROOT = Path(__file__).parent.parent
MODULES = [*sorted((ROOT / "bridge").rglob("*.py")), ROOT / "function_app.py"]
SCRIPTS = sorted((ROOT / "bridge" / "dashboard").glob("*.js"))

#: Fields and attributes with a text for people.
TEXTS = {"detail", "lastError", "problem", "error_message"}

#: Methods of strings and patterns that read a text.
READS = {
    *("startswith", "endswith", "partition", "rpartition", "split", "rsplit", "find", "rfind", "index", "count"),
    *("removeprefix", "removesuffix", "match", "fullmatch", "search", "findall", "finditer", "sub", "translate"),
}

#: At least two words: a sentence, or the pattern of one.
SEVERAL_WORDS = re.compile(r"[A-Za-z]{2}'?s? +(?![*?+{ ])\S")

#: The same in a script: a searched text, or a text as the key of a table.
SCRIPT_READS = re.compile(
    rf"""\b({"|".join(TEXTS)})\)?\s*\??\.\s*(test|exec|match|search|includes|startsWith|endsWith|split|indexOf|replace)\(
    |\.(test|exec)\([^)]*\b({"|".join(TEXTS)})\b
    |\w\[[\w.?]*\b({"|".join(TEXTS)})\]
    |\.(includes|startsWith|endsWith|indexOf|match|search)\(\s*["'`/][A-Za-z]+\s+\w
    |RegExp\([^)]*\b(pattern|{"|".join(TEXTS)})\b""",
    re.VERBOSE,
)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_code_reads_the_text_of_an_error(path: Path) -> None:
    assert list(readings(path.read_text())) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_of_the_page_reads_the_text_of_an_error(path: Path) -> None:
    assert SCRIPT_READS.findall(path.read_text()) == []


@pytest.mark.parametrize(
    "code",
    [
        'if "not public" in str(error): pass',
        "what, _, do = str(error).partition(': ')",
        "try: pass\nexcept ValueError as oops:\n    x = str(oops).lower().startswith('HTTP')",
        "def f(oops: Exception): return f'{oops}'.split()",
        "def f(oops: BaseException): return oops.args[0] == 'x'",
        'WORDS = ("not public", "must use https")\nx = any(each in message for each in WORDS)',
        'for each in ("not public", "must use https"):\n    x = each in message',
        'P = re.compile(r"HTTP 403\\b.*([Qq]uota)")',
        'x = re.search("no source is named", said)',
        'x = pattern.match(operation["lastError"])',
        "x = PATTERN.search(error.detail)",
        "x = re.sub('a', 'b', error.detail)",
        'x = said.startswith("no token")',
        'x = said == "the certificate has expired"',
        'x = "HTTP 429" in error.detail',
        "x = TLS.get(attempt.detail)",
        "x = TLS[attempt['detail']]",
        "x = error.detail == other",
        'match said:\n    case "no connection in time": pass',
        "said = problem['msg'].removeprefix('Value error, ')",
        "x = {TlsReason.EXPIRED: 1}",
        "x = said == TlsReason.EXPIRED",
        "x = TlsReason(said)",
    ],
)
def test_each_way_to_read_a_text_is_noticed(code: str) -> None:
    assert list(readings(code))


@pytest.mark.parametrize(
    "code",
    [
        "HINTS.polls.find(({ pattern }) => new RegExp(`^(?:${pattern})`).test(lastError))",
        'error === "tls" && HINTS.tls[detail]',
        'operation.lastError.startsWith("HTTP")',
        "attempt.detail?.includes(word)",
        "/quota/.test(source.problem)",
        'said.includes("not public")',
    ],
)
def test_each_way_to_read_a_text_in_a_script_is_noticed(code: str) -> None:
    assert SCRIPT_READS.search(code)


def test_the_table_of_the_document_has_each_kind_of_poll_error() -> None:
    section = (ROOT / "docs" / "polling.md").read_text().split("| `kind` | cause |")[1].split("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(PollErrorKind)


def readings(source: str) -> Iterator[str]:
    """Yield the places where code parses a text for people, or searches for words of one."""
    tree = ast.parse(source)
    reader = Reader(names_of_exceptions(tree), names_of_phrases(tree))
    for node in ast.walk(tree):
        if reader.compares(node) or reader.calls(node) or reader.looks_up(node):
            yield ast.unparse(node)


@dataclass(frozen=True, slots=True)
class Reader:
    """Recognizes the expressions of one module that are texts for people, or words of one."""

    #: Names of exceptions.
    exceptions: AbstractSet[str]
    #: Names of constants with words, and of enums with sentences as values.
    phrases: AbstractSet[str]

    def compares(self, node: ast.AST) -> bool:
        """Return whether a comparison or a `case` reads a text. A comparison with None is allowed."""
        match node:
            case ast.Compare(ops=[ast.Is() | ast.IsNot(), *_]):
                return False
            case ast.Compare(left=left, comparators=others):
                return any(self.is_text(each) or self.is_phrase(each) for each in (left, *others))
            case ast.MatchValue(value=value):
                return self.is_phrase(value)
            case _:
                return False

    def calls(self, node: ast.AST) -> bool:
        """Return whether a call searches a text, searches for words, or converts a sentence to an enum."""
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=args):
                return any(self.is_phrase(each) or self.is_text(each) for each in args)
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=args) if name in READS:
                return self.is_text(value) or any(self.is_text(each) or self.is_phrase(each) for each in args)
            case ast.Call(func=ast.Name(id=name)):
                return name in self.phrases
            case _:
                return False

    def looks_up(self, node: ast.AST) -> bool:
        """Return whether a text is the key of a table."""
        match node:
            case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]) | ast.Subscript(slice=key):
                return self.is_text(key)
            case ast.Dict(keys=keys):
                return any(isinstance(each, ast.Attribute) and self.is_phrase(each) for each in keys)
            case _:
                return False

    def is_text(self, node: ast.AST) -> bool:
        """Return whether an expression is a text for people, or derived from one."""
        match node:
            case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=name)) if name in TEXTS:
                return True
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=name), *_]):
                return name in TEXTS
            case ast.Call(func=ast.Attribute(value=inner)) | ast.Subscript(value=inner):
                return self.is_text(inner)
            case _:
                return self.is_of_exception(node)

    def is_of_exception(self, node: ast.AST) -> bool:
        """Return whether an expression is the text of an exception, or a part of one."""
        match node:
            case ast.Call(func=ast.Name(id="str" | "repr"), args=[ast.Name(id=name)]):
                return name in self.exceptions
            case ast.FormattedValue(value=ast.Name(id=name)) | ast.Attribute(value=ast.Name(id=name), attr="args"):
                return name in self.exceptions
            case ast.JoinedStr(values=values):
                return any(map(self.is_of_exception, values))
            case _:
                return False

    def is_phrase(self, node: ast.AST) -> bool:
        """Return whether an expression contains words of a text."""
        match node:
            case ast.Constant(value=str(words)):
                return SEVERAL_WORDS.search(words) is not None
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name)):
                return name in self.phrases
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return any(map(self.is_phrase, parts))
            case _:
                return False


def names_of_exceptions(tree: ast.AST) -> set[str]:
    """Return the names that are bound to exceptions."""
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}
    annotated = (node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation is not None)
    return (
        {"error"}
        | caught
        | {
            node.arg
            for node in annotated
            if re.search(r"Exception|Error\b|CommandFailed|Refused", ast.unparse(node.annotation or node))
        }
    )


def names_of_phrases(tree: ast.AST) -> set[str]:
    """Return the names of phrases: constants, loop variables over constants, and enums of sentences."""
    found = {"TlsReason"}
    for node in (each for _ in range(2) for each in ast.walk(tree)):  # a loop can precede its constant
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.For(target=ast.Name(id=name), iter=value):
                pass
            case ast.comprehension(target=ast.Name(id=name), iter=value):
                pass
            case _:
                continue
        parts = value.elts if isinstance(value, ast.Tuple | ast.List | ast.Set) else [value]
        words = [each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if any(map(SEVERAL_WORDS.search, words)) or any(
            isinstance(each, ast.Name) and each.id in found for each in parts
        ):
            found.add(name)
    return found
