"""Text of strangers, made fit to be stored, logged and shown."""


def printable(text: str, limit: int) -> str:
    """Keep at most `limit` characters of `text`; whatever is not printable, lone surrogates too, becomes a space."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()
