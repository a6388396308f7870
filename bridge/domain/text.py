"""Text of strangers, made fit to be stored, logged and shown."""

import json


def printable(text: str, limit: int) -> str:
    """Keep at most `limit` characters of `text`; whatever is not printable, lone surrogates too, becomes a space."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()


def clipped(text: str, limit: int) -> str:
    """Keep as much of `text` as fits into `limit` bytes of UTF-8, written as JSON: a quote counts as two."""
    kept = printable(text, limit)
    size = 0
    for place, character in enumerate(kept):
        size += len(json.dumps(character, ensure_ascii=False).encode()) - 2
        if size > limit:
            return kept[:place].rstrip()
    return kept
