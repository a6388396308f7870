"""The files that measurements are kept in: `results.json` holds every figure, `RESULTS.md` shows them.

Measures run apart from each other. Each one replaces its own figures and its own section, and keeps the rest.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent


def merged(before: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """Replace the groups of figures that were measured, rounded to four digits, and keep all others.

    A group is the part of a key before its first dot. A figure that its group no longer has is dropped.
    """
    groups = {_group(key) for key in measured}
    kept = {key: value for key, value in before.items() if _group(key) not in groups}
    return dict(sorted((kept | {key: float(f"{value:.4g}") for key, value in measured.items()}).items()))


def updated(before: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """Replace single figures, rounded to four digits, and keep all others."""
    return dict(sorted((dict(before) | {key: float(f"{value:.4g}") for key, value in measured.items()}).items()))


def read(folder: Path = FOLDER) -> dict[str, float]:
    """Read every figure that is kept; none if there is no file."""
    file = folder / "results.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def write(figures: Mapping[str, float], folder: Path = FOLDER) -> None:
    """Write every figure."""
    (folder / "results.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def with_section(page: str, title: str, body: str) -> str:
    """Put a section in place of the one with the same title, or at the end of the page."""
    section = f"## {title}\n\n{body.strip()}\n"
    found = _section(title).search(page)
    if found is None:
        return f"{page.rstrip()}\n\n{section}"
    rest = page[found.end() :]
    return page[: found.start()] + section + (f"\n{rest}" if rest else "")


def _group(key: str) -> str:
    return key.partition(".")[0]


def _section(title: str) -> re.Pattern[str]:
    return re.compile(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)")
