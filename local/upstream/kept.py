"""The memory of the fake Speech service over a restart of the local start: operations and jobs."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from local.errors import LocalError

_CONTENT = TypeAdapter(dict[str, dict[str, JsonValue]])


class Kept:
    """A JSON file with a section for each kind; without a path, nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._content = _read(path) if path and path.exists() else {}

    def section(self, name: str) -> Mapping[str, JsonValue]:
        """Return the entries of a section, by their ids."""
        return self._content.get(name, {})

    def add(self, section: str, entry_id: str, entry: JsonValue) -> None:
        """Add or replace an entry, and write the file. A crash leaves the old file or the new one."""
        with self._lock:
            self._content.setdefault(section, {})[entry_id] = entry
            self._write()

    def remove(self, section: str, entry_id: str) -> None:
        """Remove an entry, if there is one, and write the file."""
        with self._lock:
            if self._content.get(section, {}).pop(entry_id, None) is not None:
                self._write()

    def _write(self) -> None:
        if self._path:
            unfinished = self._path.with_suffix(".new")
            unfinished.write_text(json.dumps(self._content), encoding="utf-8")
            unfinished.replace(self._path)


def _read(path: Path) -> dict[str, dict[str, JsonValue]]:
    try:
        return _CONTENT.validate_json(path.read_bytes())
    except ValidationError as error:
        raise LocalError(f"{path} is not what the fake Speech service wrote: remove it.") from error
