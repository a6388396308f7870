"""Tells signing keys of random bytes from those that a person made up.

`GET /api/signing-keys` publishes what derives from a key, so a key that can be guessed can be found offline, and every
receiver's secret with that key. No rule finds all weak keys. These find texts, repetitions and sequences, and refuse a
key of random bytes less than once in a thousand million.
"""

import string
from itertools import pairwise

_PRINTABLE = frozenset(string.printable)

#: Of 32 random bytes, fewer than this many are different ones with a probability below 1e-12.
_DIFFERENT = 16


def weakness_of(key: bytes, text: str) -> str | None:
    """Say why a key is weak, given its bytes and its base64 text; None if nothing is found."""
    if all(chr(byte) in _PRINTABLE for byte in key):
        return "is text, and text can be guessed"
    if len(set(key)) < _DIFFERENT or len({(after - before) % 256 for before, after in pairwise(key)}) < _DIFFERENT:
        return "repeats itself or counts, and can be guessed"
    if text.lower() == text or text.upper() == text:
        return "is words or digits written as base64, and can be guessed"
    return None
