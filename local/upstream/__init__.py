"""A fake Speech service: operations with statuses over time, and scripted answers."""

from local.upstream.listing import ListRules, NextLink, Order
from local.upstream.lives import DEFAULT_DURATIONS, DEFAULT_LIFE, Durations, Life, status_at
from local.upstream.operations import Rules, Unknown
from local.upstream.quota import Quota
from local.upstream.server import Asked, Upstream

__all__ = [
    "DEFAULT_DURATIONS",
    "DEFAULT_LIFE",
    "Asked",
    "Durations",
    "Life",
    "ListRules",
    "NextLink",
    "Order",
    "Quota",
    "Rules",
    "Unknown",
    "Upstream",
    "status_at",
]
