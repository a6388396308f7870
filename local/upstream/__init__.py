"""A fake Speech service: operations that live through their statuses, and every answer on demand."""

from local.upstream.lives import DEFAULT_DURATIONS, DEFAULT_LIFE, Durations, Life, status_at
from local.upstream.server import Asked, Upstream

__all__ = ["DEFAULT_DURATIONS", "DEFAULT_LIFE", "Asked", "Durations", "Life", "Upstream", "status_at"]
