"""Matching of requests and routes."""

import pytest

from local.host.routes import Route


def route(template: str, *methods: str, prefix: str = "api") -> Route:
    """Return a route."""
    return Route.parse(template, list(methods) or None, prefix=prefix)


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("things", "/api/things", {}),
        ("things", "/api/things/", {}),
        ("things", "/API/Things", {}),
        ("/things/", "/api/things", {}),
        ("things", "/api/things/1", None),
        ("things", "/things", None),
        ("things", "/api/thing", None),
        ("things", "/api//things", None),
        ("a.b", "/api/axb", None),
        ("things/{id}", "/api/things/Ab~1", {"id": "Ab~1"}),
        ("things/{id}", "/api/things/a%2Fb", {"id": "a%2Fb"}),
        ("things/{id}", "/api/things/a\nb", {"id": "a\nb"}),
        ("things/{id}", "/api/things/", None),
        ("things/{id}", "/api/things/1/2", None),
        ("things/{id}/redo", "/api/things/1/redo", {"id": "1"}),
        ("things/{id?}", "/api/things", {}),
        ("things/{id?}", "/api/things/1", {"id": "1"}),
    ],
)
def test_path_matches_template(template: str, path: str, expected: dict[str, str] | None) -> None:
    """Fixed parts match in any letter case. A parameter is one non-empty segment."""
    assert route(template).match("GET", path) == expected


def test_prefix_can_be_empty() -> None:
    """An empty routePrefix serves from the root."""
    assert route("things", prefix="").match("GET", "/things") == {}


@pytest.mark.parametrize(("method", "matches"), [("GET", True), ("get", True), ("DELETE", True), ("HEAD", False)])
def test_only_declared_methods_match(method: str, matches: bool) -> None:
    """GET does not imply HEAD."""
    found = route("things", "GET", "delete").match(method, "/api/things")

    assert (found is not None) is matches


def test_route_without_methods_accepts_all() -> None:
    """A decorator without methods allows any."""
    assert route("things").match("PATCH", "/api/things") == {}


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (route("things", "GET"), route("/Things/", "GET", "POST"), True),
        (route("things"), route("things", "POST"), True),
        (route("things", "GET"), route("things", "POST"), False),
        (route("things/{id}", "GET"), route("things/{name}", "GET"), False),
    ],
)
def test_same_template_with_common_method_conflicts(one: Route, other: Route, conflict: bool) -> None:
    """Azure compares templates as text. Equivalent templates follow the order of functions."""
    assert one.conflicts_with(other) is conflict


@pytest.mark.parametrize("template", ["admin", "Admin/things", "runtime/x", "administrators"])
def test_reserved_routes_are_rejected(template: str) -> None:
    """Azure rejects its own prefixes."""
    with pytest.raises(ValueError, match="built in routes"):
        route(template)


@pytest.mark.parametrize("template", ["{id:int}", "{*rest}", "a{id}", "{id=1}", "{a}-{b}", "{1}"])
def test_templates_that_are_not_modelled_are_rejected(template: str) -> None:
    """A guess could differ from Azure without a message."""
    with pytest.raises(ValueError, match="not modelled"):
        route(template)
