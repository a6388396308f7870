"""Every query of the project by name: alerts, searches, workbook and documents."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from local.settings import REPOSITORY

_INFRA = REPOSITORY / "infra"
_NO_DOCUMENTS = {"node_modules", ".local"}


def alert_queries() -> dict[str, str]:
    """Return the query of each alert."""
    return {path.stem: path.read_text() for path in sorted((_INFRA / "queries").glob("*.kql"))}


def search_queries() -> dict[str, str]:
    """Return the queries that operators copy and fill in."""
    return {path.stem: path.read_text() for path in sorted((_INFRA / "queries" / "search").glob("*.kql"))}


def workbook_queries() -> dict[str, str]:
    """Return the query of each chart and table. The workbook replaces `{Parameter}`."""
    items = json.loads((_INFRA / "workbook.json").read_text())["items"]
    return {item["name"]: item["content"]["query"] for item in items if item["type"] == 3}


def document_queries() -> dict[str, str]:
    """Return the queries of all documents, by file and number."""
    found = {}
    for path in sorted(_documents()):
        blocks = re.findall(r"^```(?:kusto|kql)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks, start=1):
            found[f"{path.relative_to(REPOSITORY).as_posix()}#{number}"] = block
    return found


def all_queries() -> Mapping[str, str]:
    """Return all queries by kind and name."""
    kinds = {
        "alert": alert_queries(),
        "search": search_queries(),
        "workbook": workbook_queries(),
        "document": document_queries(),
    }
    return {f"{kind}: {name}": text for kind, queries in kinds.items() for name, text in queries.items()}


def _documents() -> list[Path]:
    return [
        path
        for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *_INFRA.rglob("*.md"))
        if not _NO_DOCUMENTS & set(path.parts)
    ]
