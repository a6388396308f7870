"""Parts of documents that repeat the code: `make docs` writes them, and a test compares them.

A part stands between `<!-- NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from bridge.api.errors import ErrorCode
from bridge.domain.callback_url import REFUSED

DOCS = Path(__file__).parents[2] / "docs"


def networks() -> str:
    """Return the list of networks that callbacks cannot reach without a setting."""
    return " ".join(f"`{network}`" for network in REFUSED)


def error_codes() -> str:
    """Return the table of error codes, with status and meaning."""
    rows = [f"| `{code}` | {int(code.status)} | {code.meaning} |" for code in ErrorCode]
    return "\n".join(("| code | status | meaning |", "| --- | --- | --- |", *rows))


#: The function that writes each part, by page and name.
PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("api.md", "error codes"): error_codes,
    ("security.md", "networks"): networks,
}


def generated() -> Mapping[Path, str]:
    """Return the pages with up-to-date generated parts."""
    texts = {DOCS / name: (DOCS / name).read_text(encoding="utf-8") for name, _ in PARTS}
    for (name, part), write in PARTS.items():
        between = re.compile(rf"(<!-- {part} -->\n).*?(<!-- end -->)", re.DOTALL)
        texts[DOCS / name] = between.sub(rf"\g<1>{write()}\n\g<2>", texts[DOCS / name])
    return texts


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
