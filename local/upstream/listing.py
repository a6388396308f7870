"""The list of jobs, page by page, and the ways in which it can mislead its reader."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

#: The most jobs of a page, and the default of `maxpagesize`.
LARGEST_PAGE = 100


class Order(StrEnum):
    """The order of jobs. The real service promises none. Its examples are ordered newest first."""

    NEWEST_FIRST = "newestFirst"
    OLDEST_FIRST = "oldestFirst"
    SHUFFLED = "shuffled"  #: anew for each page


class NextLink(StrEnum):
    """Where the link to the next page leads."""

    NEXT = "next"
    SAME = "same"  #: to the same page again
    ELSEWHERE = "elsewhere"  #: to another host


class ListRules(BaseModel):
    """How lists of jobs are answered."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    order: Order = Order.NEWEST_FIRST
    #: The ids of jobs that no page shows.
    drop: frozenset[str] = frozenset()
    #: The ids of jobs that every page shows, in addition.
    repeat: frozenset[str] = frozenset()
    #: The number of jobs that another client submits after each page.
    insert: Annotated[int, Field(ge=0, le=LARGEST_PAGE)] = 0
    next_link: Annotated[NextLink, Field(alias="nextLink")] = NextLink.NEXT
    #: The least size of each job in bytes. 100 jobs of 2,500 bytes are a page of 250 KB.
    job_bytes: Annotated[int, Field(ge=0, le=100_000, alias="jobBytes")] = 0


@dataclass(frozen=True, slots=True)
class Page:
    """The ids of one page, and whether jobs follow it."""

    ids: Sequence[str]
    has_next: bool


def page_of(created: Sequence[tuple[datetime, str]], rules: ListRules, *, skip: int, size: int, seed: int) -> Page:
    """Return a page of jobs, given as pairs of the time of submission and the id, in order of submission."""
    ids = [job_id for _, job_id in sorted(created, key=lambda each: each[0]) if job_id not in rules.drop]
    match rules.order:
        case Order.NEWEST_FIRST:
            ids.reverse()
        case Order.SHUFFLED:
            random.Random(seed).shuffle(ids)
        case Order.OLDEST_FIRST:
            pass
    shown = ids[skip : skip + size]
    repeated = [job_id for job_id in ids if job_id in rules.repeat]
    return Page([*shown, *repeated], has_next=skip + size < len(ids))


def link_to_next(host_url: str, path: str, rules: ListRules, *, skip: int, size: int, version: str) -> str:
    """Write the link to the page after `skip`. The real service spells its path in another way for some APIs."""
    host, following = host_url.rstrip("/"), skip + size
    if rules.next_link is NextLink.ELSEWHERE:
        host = "https://elsewhere.invalid"
    if rules.next_link is NextLink.SAME:
        following = skip
    name = "batchsynthesises" if path == "texttospeech" else "batchsyntheses"
    return f"{host}/{path}/{name}?{urlencode({'skip': following, 'maxpagesize': size, 'api-version': version})}"
