"""The answers of the real service and its siblings by name, with bodies as documented or observed."""

import json
from pathlib import Path

from pydantic import JsonValue

from local.answer import Answer

_FILE = Path(__file__).with_name("answers.json")

#: Replaced in a body by the id of the requested operation.
PLACEHOLDER = "{operationId}"

#: The only answer that must keep another operation's id.
_ABOUT_ANOTHER = "another operation's id"


def _read() -> dict[str, tuple[Answer, str]]:
    entries = {entry["name"]: entry for entry in json.loads(_FILE.read_text(encoding="utf-8"))}
    for name, entry in entries.items():
        if "id" in (entry.get("body") or {}) and name != _ABOUT_ANOTHER:
            entry["body"]["id"] = PLACEHOLDER
    return {name: (Answer.parse(entry), entry["meaning"]) for name, entry in entries.items()}


_ANSWERS = _read()


def named(name: str) -> Answer:
    """Return an answer by name. Raises ValueError with the known names for an unknown one."""
    if name not in _ANSWERS:
        raise ValueError(f"no answer is called {name!r}; there are: {', '.join(map(repr, _ANSWERS))}")
    return _ANSWERS[name][0]


def listed() -> JsonValue:
    """List the names with the status and the meaning of each answer for a poller."""
    return [{"name": name, "status": answer.status, "meaning": meaning} for name, (answer, meaning) in _ANSWERS.items()]
