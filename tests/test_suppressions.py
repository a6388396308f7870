"""Comments that silence a linter rule are few, and each has a reason."""

import io
import re
import tokenize

from local.settings import REPOSITORY

#: The maximum. A conflict in a whole folder belongs in pyproject.toml, with a reason.
LIMIT = 15

#: The comment that silences a rule: the rules and the reason.
WORD = "noqa"
FORM = rf"# {WORD}: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)* - \S.+"

#: Folders of the project with Python.
FOLDERS = ("bench", "bridge", "examples", "infra", "local", "tests")


def comments(text: str) -> list[str]:
    """Return the comments of a module."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def test_few_comments_silence_a_rule_and_each_names_the_rule_and_the_reason() -> None:
    paths = [REPOSITORY / "function_app.py", *(path for each in FOLDERS for path in (REPOSITORY / each).rglob("*.py"))]
    found = [
        (path.relative_to(REPOSITORY).as_posix(), comment)
        for path in paths
        if "node_modules" not in path.parts and WORD in (text := path.read_text(encoding="utf-8"))
        for comment in comments(text)
        if re.search(rf"\b{WORD}\b", comment)
    ]

    assert len(found) <= LIMIT, found
    assert [each for each in found if not re.fullmatch(FORM, each[1])] == []
