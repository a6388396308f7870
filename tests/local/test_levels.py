"""Who may call what, on the app of this repository: every route behind a host that enforces keys."""

import os
import re
from collections.abc import Iterator

import pytest
import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.settings import REPOSITORY

#: Method, path and what the README says of each route.
ROUTES = re.findall(
    r"^\| `([A-Z]+) (/api/[^`?]+)[^`]*` \| (.+) \|$", (REPOSITORY / "README.md").read_text(), re.MULTILINE
)

#: What a call gets that is let in: the app has no settings but its storage, so nothing is read or written.
LET_IN = 503


@pytest.fixture(scope="module")
def host(azurite: Azurite) -> Iterator[HostProcess]:
    """Run the app with a key."""
    environ = {
        "PATH": os.environ["PATH"],
        "AzureWebJobsStorage": azurite.connection_string,
        "BRIDGE_POLL_SCHEDULE": "0 0 0 1 1 *",
    }
    with HostProcess.start(environ, keys=["the-key"]) as running:
        yield running


@pytest.mark.parametrize(("method", "path", "said"), ROUTES, ids=[" ".join(each[:2]) for each in ROUTES])
def test_every_route_needs_a_key_unless_the_readme_says_otherwise(
    host: HostProcess, method: str, path: str, said: str
) -> None:
    """The README holds the list of all routes; another test holds that list to the app."""
    url = host.url + path.replace("{id}", "some-id")

    without, wrong, right = (
        requests.request(method, url, headers=headers, timeout=10).status_code
        for headers in ({}, {"x-functions-key": "wrong"}, {"x-functions-key": "the-key"})
    )

    assert right == LET_IN
    assert {without, wrong} == ({LET_IN} if "anonymous" in said else {401})


def test_the_routes_are_found_in_the_readme() -> None:
    """An empty table would prove nothing."""
    levels = {" ".join(each[:2]): "anonymous" in each[2] for each in ROUTES}

    assert (levels["GET /api/health"], levels["POST /api/registrations"]) == (True, False)
