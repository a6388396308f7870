"""The rule for query parameters is the same for every call."""

import azure.functions as func
import pytest

from bridge import __version__
from bridge.api.handlers import Handlers
from bridge.api.routes import ROUTES, Handler, Route
from bridge.app import App
from tests.support.harness import Harness
from tests.support.http import BASE, Client, answer, route_of

ID = "default~operation-1~0123456789abcdef"


#: All routes but the page, which reads the parameters of its addresses itself.
OF_THE_API = [route for route in ROUTES if route.handler is not Handlers.dashboard]


@pytest.mark.parametrize("route", OF_THE_API, ids=lambda route: str(route.name))
def test_route_names_every_unknown_parameter(bridge: Harness, route: Route[Handler]) -> None:
    path = f"/{route.path.replace('{id}', ID)}?colour=blue&State=dead&code=key"

    answer = Client.of(bridge).call(route.handler, path, method=route.methods[0], id=ID)

    assert (answer.status, set(answer.targets) >= {"colour", "State"}) == (400, True)
    assert "code" not in answer.targets
    assert bridge.table.taken() == {}


@pytest.mark.parametrize("query", ["colour", "colour=", "state=", "limit=", "operationId=&code=key", "cursor"])
def test_parameter_without_a_value_is_invalid_too(bridge: Harness, query: str) -> None:
    """The platform passes no empty parameter to the app, but the URL contains the name."""
    request = func.HttpRequest("GET", f"{BASE}/registrations?{query}", params={}, body=b"")

    refused = answer(App(bridge.bridge).answer(route_of(Handlers.list_registrations), request))

    assert (refused.status, refused.targets) == (400, [query.partition("=")[0]])


def test_repeated_parameter_is_invalid(bridge: Harness) -> None:
    request = func.HttpRequest("GET", f"{BASE}/registrations?limit=1&limit=2", params={"limit": "1,2"}, body=b"")

    refused = answer(App(bridge.bridge).answer(route_of(Handlers.list_registrations), request))

    assert (refused.status, refused.targets) == (400, ["limit"])


@pytest.mark.parametrize("name", ["code", "Code", "CODE", "clientId", "clientid", "ClientID"])
def test_key_in_the_query_is_ignored_in_any_letter_case(bridge: Harness, name: str) -> None:
    answer = Client.of(bridge).call(Handlers.list_registrations, f"/registrations?{name}=key")

    assert answer.status == 200


def test_health_follows_the_rule_too(bridge: Harness) -> None:
    client = Client.of(bridge)

    refused, alive = client.health("colour=blue&code=key"), client.health("CODE=key")

    assert (refused.status, refused.targets) == (400, ["colour"])
    assert (alive.status, alive.body) == (200, {"status": "ok", "version": __version__})
