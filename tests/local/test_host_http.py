"""HTTP triggers, over real sockets."""

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from local.errors import LocalError
from local.host.host import Host
from tests.local.conftest import Probe

ECHO = """
@app.route("things/{id?}", methods=["GET", "POST"])
def things(req: func.HttpRequest) -> func.HttpResponse:
    probe.seen.add(req)
    return func.HttpResponse(b"\\x00\\xff", status_code=201, headers={"X-Out": "1"}, mimetype="application/x-thing")
"""

LEVELS = """
@app.route("open", auth_level=func.AuthLevel.ANONYMOUS)
def open_(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("open")

@app.route("closed")
def closed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("closed")

@app.route("inner", auth_level=func.AuthLevel.ADMIN)
def inner(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("inner")
"""

SLOW = """
@app.route("slow")
def slow(req: func.HttpRequest) -> func.HttpResponse:
    probe.seen.add("began")
    probe.wait()
    return func.HttpResponse("done")
"""


def assert_empty(response: requests.Response, status: int) -> None:
    """Assert an answer of the platform, which has a status and no body."""
    assert response.status_code == status
    assert response.content == b""
    assert response.headers["Content-Length"] == "0"
    assert "Content-Type" not in response.headers


def test_app_gets_the_request_as_azure_gives_it(run: Callable[..., Host], probe: Probe) -> None:
    """Compared: bytes, headers in any letter case, the raw URL, decoded parameters, and repeated values as one."""
    host = run(ECHO)

    requests.post(
        f"{host.url}/API/things/a%20b?x=1&x=2&y=%C3%A4", data=b'{"\xff', headers={"X-Custom": "Value"}, timeout=10
    )

    (seen,) = probe.seen.entries
    assert seen.method == "POST"
    assert seen.url == f"{host.url}/API/things/a%20b?x=1&x=2&y=%C3%A4"
    assert dict(seen.params) == {"x": "1,2", "y": "ä"}
    assert dict(seen.route_params) == {"id": "a b"}
    assert seen.get_body() == b'{"\xff'
    assert seen.headers["x-custom"] == seen.headers["X-CUSTOM"] == "Value"


def test_omitted_optional_parameter_is_absent(run: Callable[..., Host], probe: Probe) -> None:
    """The parameter is absent, neither None nor empty."""
    host = run(ECHO)

    requests.get(f"{host.url}/api/things", timeout=10)

    assert dict(probe.seen.entries[0].route_params) == {}
    assert probe.seen.entries[0].get_body() == b""


def test_answer_of_the_app_arrives_unchanged(run: Callable[..., Host]) -> None:
    """Compared: status, headers and bytes."""
    host = run(ECHO)

    response = requests.get(f"{host.url}/api/things", timeout=10)

    assert response.status_code == 201
    assert response.content == b"\x00\xff"
    assert response.headers["Content-Type"] == "application/x-thing"
    assert response.headers["X-Out"] == "1"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/nothing"), ("DELETE", "/api/things"), ("HEAD", "/api/things"), ("GET", "/")]
)
def test_unknown_route_or_method_is_an_empty_404(run: Callable[..., Host], method: str, path: str) -> None:
    """Azure Functions has no 405."""
    host = run(ECHO)

    assert_empty(requests.request(method, host.url + path, timeout=10), 404)


def test_exception_is_an_empty_500_and_a_traceback_in_the_log(
    run: Callable[..., Host], probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the reason, the answer has none."""
    probe.failures = 1
    host = run("""
@app.route("things")
def things(req: func.HttpRequest) -> func.HttpResponse:
    probe.fail()
    return func.HttpResponse("fine")
""")

    assert_empty(requests.get(f"{host.url}/api/things", timeout=10), 500)
    assert "RuntimeError: the app failed" in caplog.text
    assert requests.get(f"{host.url}/api/things", timeout=10).text == "fine"


@pytest.mark.parametrize("value", ["None", "7"])
def test_result_that_is_no_response_is_an_empty_500(run: Callable[..., Host], value: str) -> None:
    """The function returned nothing, or a value that is no response."""
    host = run(f"""
@app.route("things")
def things(req: func.HttpRequest):
    return {value}
""")

    assert_empty(requests.get(f"{host.url}/api/things", timeout=10), 500)


def test_routes_are_tried_by_function_name(run: Callable[..., Host]) -> None:
    """If two routes match, the function name decides, not the route or the order in the file."""
    host = run("""
@app.route("things/special")
def z(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("z")

@app.route("things/{id}")
def a(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("a")
""")

    assert requests.get(f"{host.url}/api/things/special", timeout=10).text == "a"


@pytest.mark.parametrize("path", ["open", "closed", "inner"])
def test_without_keys_every_level_is_open(run: Callable[..., Host], path: str) -> None:
    """`func start` does the same."""
    host = run(LEVELS)

    assert requests.get(f"{host.url}/api/{path}", timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers", "query", "expected"),
    [
        ("open", {}, "", 200),
        ("closed", {}, "", 401),
        ("closed", {"x-functions-key": "right"}, "", 200),
        ("closed", {"X-Functions-Key": "other"}, "", 200),
        ("closed", {}, "?code=right", 200),
        ("closed", {"x-functions-key": "wrong"}, "", 401),
        ("closed", {"x-functions-key": "wrong"}, "?code=right", 401),
        ("closed", {"x-functions-key": ""}, "?code=right", 401),
        ("closed", {}, "?code=wrong", 401),
        ("closed", {}, "?code=%C3%A4", 401),
        ("inner", {"x-functions-key": "right"}, "", 401),
    ],
)
def test_with_keys_levels_are_enforced(
    run: Callable[..., Host], path: str, headers: dict[str, str], query: str, expected: int
) -> None:
    """A function key opens only its level. The header precedes the query."""
    host = run(LEVELS, keys=("right", "other"))

    response = requests.get(f"{host.url}/api/{path}{query}", headers=headers, timeout=10)

    assert response.status_code == expected
    if expected == 401:
        assert_empty(response, 401)


def test_functions_run_in_the_configured_number_of_threads(run: Callable[..., Host], probe: Probe) -> None:
    """With one thread, the second request starts after the end of the first."""
    host = run(SLOW, settings={"PYTHON_THREADPOOL_THREAD_COUNT": "1"})
    answers = [threading.Thread(target=requests.get, args=(f"{host.url}/api/slow",)) for _ in range(2)]
    for answer in answers:
        answer.start()

    probe.seen.wait_for(1)

    assert probe.seen.entries == ("began",)
    probe.go.set()
    assert probe.seen.wait_for(2) == ("began", "began")
    for answer in answers:
        answer.join()


def test_stop_finishes_requests_in_flight(run: Callable[..., Host], probe: Probe) -> None:
    """The answer still arrives. Later connections are refused."""
    host = run(SLOW)
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(requests.get(f"{host.url}/api/slow", timeout=30).text))
    client.start()
    probe.seen.wait_for(1)
    stopping = threading.Thread(target=host.stop, args=(30,))
    stopping.start()

    probe.go.set()

    stopping.join()
    client.join()
    assert answers == ["done"]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{host.url}/api/slow", timeout=5)


def test_stop_gives_up_on_requests_that_do_not_end(
    run: Callable[..., Host], probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    """The stop reports that it was not clean."""
    caplog.set_level(logging.CRITICAL)
    host = run(SLOW)
    client = threading.Thread(target=requests.get, args=(f"{host.url}/api/slow",))
    client.start()
    probe.seen.wait_for(1)

    assert host.stop(timeout=0) is False

    probe.go.set()
    client.join()


def test_occupied_port_is_reported(make_app: Callable[..., Path]) -> None:
    """One line with the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(LocalError, match=f"port {port} is taken"):
            Host(make_app(ECHO), {}, port=port)


def test_host_listens_on_loopback_only(run: Callable[..., Host]) -> None:
    """Other machines cannot connect."""
    host = run(ECHO)

    assert host.url.startswith("http://127.0.0.1:")


PAGE = """
@app.route("dashboard", auth_level=func.AuthLevel.ANONYMOUS)
def dashboard(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("the page")
"""


@pytest.mark.parametrize("path", ["/", "", "/api", "/api/"])
def test_front_door_leads_to_the_page_of_the_app(run: Callable[..., Host], path: str) -> None:
    host = run(PAGE, keys=("a-key",))

    answer = requests.get(f"{host.url}{path}", timeout=10)

    assert ([each.status_code for each in answer.history], answer.text) == ([302], "the page")
    assert answer.url == f"{host.url}/api/dashboard"


def test_front_door_of_an_app_without_a_prefix_leads_to_its_page(run: Callable[..., Host]) -> None:
    host = run(PAGE, prefix="")

    assert requests.get(host.url, timeout=10).url == f"{host.url}/dashboard"


@pytest.mark.parametrize("path", ["/", "/api"])
def test_front_door_of_an_app_without_a_page_is_not_found(run: Callable[..., Host], path: str) -> None:
    host = run(LEVELS)

    assert_empty(requests.get(f"{host.url}{path}", timeout=10), 404)
