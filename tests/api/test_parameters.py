"""One rule for the query of every call."""

import pytest

from bridge.api.description.calls import CALLS, Call
from bridge.api.routes import Routes
from tests.support.http import FUNCTIONS, Client, Route
from tests.support.world import Stage

ROUTES = {function: name for name, function in FUNCTIONS.items()}
ID = "default~operation-1~0123456789abcdef"


def route(call: Call) -> Route:
    found: Route = getattr(Routes, ROUTES.get(call.name, call.name))
    return found


def path(call: Call) -> str:
    return call.path.replace("{id}", ID)


@pytest.mark.parametrize("call", [call for call in CALLS if call.name != "health"], ids=lambda call: call.name)
def test_call_names_every_parameter_that_it_does_not_know(bridge: Stage, call: Call) -> None:
    answer = Client.of(bridge).call(
        route(call), f"{path(call)}?colour=blue&State=dead&code=key", method=call.method.upper(), id=ID
    )

    assert (answer.status, set(answer.targets) >= {"colour", "State"}) == (400, True)
    assert "code" not in answer.targets
    assert bridge.table.taken() == {}


@pytest.mark.parametrize("name", ["code", "Code", "CODE", "clientId", "clientid", "ClientID"])
def test_key_in_the_query_is_passed_over_in_any_letter_case(bridge: Stage, name: str) -> None:
    answer = Client.of(bridge).call(Routes.list, f"/registrations?{name}=key")

    assert answer.status == 200
