"""Parts of documents that repeat the code: `make docs` writes them, and a test compares them.

A part stands between `<!-- NAME -->` and `<!-- end -->`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from bridge.api.errors import ErrorCode
from bridge.domain.callback_url import REFUSED
from tests import api_examples
from tests.support.json_value import Json

DOCS = Path(__file__).parents[2] / "docs"

#: The length of the longest list that an example shows whole, and the items shown of a longer one.
_WHOLE, _ITEMS = 4, 2


def networks() -> str:
    """Return the list of networks that callbacks cannot reach without a setting."""
    return " ".join(f"`{network}`" for network in REFUSED)


def error_codes() -> str:
    """Return the table of error codes, with status and meaning."""
    rows = [f"| `{code}` | {int(code.status)} | {code.meaning} |" for code in ErrorCode]
    return "\n".join(("| code | status | meaning |", "| --- | --- | --- |", *rows))


def shortened(value: Json) -> Json:
    """Keep the first items of each long list."""
    if isinstance(value, Mapping):
        return {name: shortened(each) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) <= _WHOLE:
        return [shortened(each) for each in value]
    return [*(shortened(each) for each in value[:_ITEMS]), "…"]


def examples() -> str:
    """Return a request and an answer of each call."""
    recorder = api_examples.recorded()
    parts = []
    for name, request in recorder.requests.items():
        status, body = next(iter(recorder.successes[name].items()))
        answer = json.dumps(shortened(body), indent=1, ensure_ascii=False)
        parts.append(f"```http\n{request}\n```\n\n`{status}`\n\n```json\n{answer}\n```")
    return "\n\n".join(parts)


#: The function that writes each part, by page and name.
PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("security.md", "networks"): networks,
    ("api.md", "error codes"): error_codes,
    ("api.md", "examples"): examples,
}


def generated() -> Mapping[Path, str]:
    """Return the pages with up-to-date generated parts."""
    texts = {DOCS / name: (DOCS / name).read_text(encoding="utf-8") for name, _ in PARTS}
    for (name, part), write in PARTS.items():
        before, rest = texts[DOCS / name].split(f"<!-- {part} -->\n")
        after = rest.split("<!-- end -->", 1)[1]
        texts[DOCS / name] = f"{before}<!-- {part} -->\n{write()}\n<!-- end -->{after}"
    return texts


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
