"""The layout of the local start's data in Azurite: keys, columns and values of rows and queue messages."""

import shlex
from pathlib import Path

from local.errors import LocalError

#: Raise this if the app can no longer read rows or messages of an older version.
LAYOUT = "2"


def demand_layout(folder: Path) -> None:
    """Refuse Azurite's files of another layout, and record the layout of new files in `layout`.

    `folder` is the state directory of the local start. The signing key in it stays valid. Raises LocalError with the
    command that removes the files, and OSError if the layout cannot be read or recorded.
    """
    storage, noted = folder / "azurite", folder / "layout"
    found = noted.read_text().strip() if noted.exists() else None
    if found == LAYOUT:
        return
    if storage.exists() and any(storage.iterdir()):
        command = f"rm -r {shlex.quote(str(storage))}"
        raise LocalError(
            f"{storage} has state of another layout, which this version cannot read: run `{command}` first."
        )
    folder.mkdir(parents=True, exist_ok=True)
    noted.write_text(f"{LAYOUT}\n")
