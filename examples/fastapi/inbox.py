"""What was received, in a SQLite file: nothing that was answered 204 is lost, and nothing is worked on twice.

One process owns the file: run uvicorn with one worker, which is what it does by default.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS callbacks (
    id TEXT PRIMARY KEY,  -- the webhook-id
    body TEXT NOT NULL,
    finished TEXT         -- when the work was done, in UTC; NULL until then
);
CREATE INDEX IF NOT EXISTS by_finished ON callbacks (finished);
"""

#: The bridge can send a message again for 30 days after its last attempt, which can be a week after the first.
_REMEMBERED = "-60 days"


class Inbox:
    """Callbacks by their `webhook-id`. Every call is one transaction, on disk when it returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as database:
            database.executescript(_SCHEMA)

    def keep(self, message_id: str, body: str) -> bool:
        """Keep a callback until it is worked on; False if it came before.

        A crash right after this loses nothing: the work is found again at the next start.
        """
        insert = "INSERT INTO callbacks (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING"
        with self._transaction() as database:
            return database.execute(insert, (message_id, body)).rowcount == 1

    def unfinished(self) -> list[tuple[str, str]]:
        """List id and body of what is still to be worked on, oldest first."""
        with self._transaction() as database:
            return database.execute("SELECT id, body FROM callbacks WHERE finished IS NULL ORDER BY rowid").fetchall()

    def finish(self, message_id: str) -> None:
        """Note that the work is done. A crash right before this repeats it."""
        with self._transaction() as database:
            database.execute("UPDATE callbacks SET finished = datetime('now') WHERE id = ?", (message_id,))

    def forget_old(self) -> None:
        """Forget what the bridge will not send again."""
        with self._transaction() as database:
            database.execute("DELETE FROM callbacks WHERE finished < datetime('now', ?)", (_REMEMBERED,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as database, database:
            yield database
