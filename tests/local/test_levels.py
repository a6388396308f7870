"""Who may call what, on the app of this repository: every route behind a host that enforces keys."""

import os
import re
from collections.abc import Iterator

import pytest
import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.settings import REPOSITORY

#: The routes, as the README lists them; another test holds that list to the app.
ROUTES = re.findall(r"^\| `([A-Z]+) (/api/[^`?]+)", (REPOSITORY / "README.md").read_text(), re.MULTILINE)

#: Those that anybody may call.
OPEN = {("GET", "/api/health"), ("GET", "/api/signing-keys"), ("GET", "/api/openapi.json")}

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


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_every_route_needs_a_key_but_those_that_are_open(host: HostProcess, method: str, path: str) -> None:
    """A wrong key is as good as none."""
    url = host.url + path.replace("{id}", "some-id")

    without, wrong, right = (
        requests.request(method, url, headers=headers, timeout=10).status_code
        for headers in ({}, {"x-functions-key": "wrong"}, {"x-functions-key": "the-key"})
    )

    assert right == LET_IN
    assert {without, wrong} == ({LET_IN} if (method, path) in OPEN else {401})


def test_the_routes_are_found_in_the_readme() -> None:
    """An empty table would prove nothing."""
    assert {("POST", "/api/registrations"), *OPEN} <= set(ROUTES)
