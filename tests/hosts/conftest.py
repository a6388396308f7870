"""Hosts that many tests share. Each host is started once, and the tests are grouped by host."""

from collections.abc import Iterator

import pytest

from local.azurite import Azurite
from local.host.microsoft import MicrosoftHost
from local.host.process import HostProcess
from tests.support.hosts import KINDS, Kind, Running, running_app, start_host

ECHO = """
import asyncio, json, logging, threading
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
log = logging.getLogger("echo")


def seen(req):
    body = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "headers": {name.lower(): value for name, value in req.headers.items()},
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(body), mimetype="application/json")


@app.route("echo/{id}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    return seen(req)


@app.route("later/{id?}")
async def later(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(0)
    log.info("line of an async function")
    return seen(req)


@app.route("keyed", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def keyed(req: func.HttpRequest) -> func.HttpResponse:
    return seen(req)


@app.route("master", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
def master(req: func.HttpRequest) -> func.HttpResponse:
    return seen(req)


@app.route("fail")
def fail(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("failed on purpose")


@app.route("log")
def write(req: func.HttpRequest) -> func.HttpResponse:
    log.info("line of the invocation")
    thread = threading.Thread(target=log.info, args=("line of another thread",))
    thread.start()
    thread.join()
    log.info("last line of the invocation")
    return func.HttpResponse(status_code=204)
"""

_HOST_JSON = """{
  "version": "2.0",
  "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
  "logging": {"logLevel": {"default": "Information"}}
}"""


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return the kind of host. Tests that use this fixture, or one below, run on both hosts."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture(scope="session")
def echo(
    kind: Kind, azurite: Azurite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostProcess | MicrosoftHost]:
    """Run an app that returns the request as data."""
    app = tmp_path_factory.mktemp("echo")
    (app / "host.json").write_text(_HOST_JSON)
    (app / "function_app.py").write_text(ECHO)
    environ = {
        "PATH": "/usr/bin:/bin",
        "AzureWebJobsStorage": azurite.connection_string,
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000000",
        "LOCAL_HOSTS": "app.example",
    }
    with start_host(kind, tmp_path_factory.mktemp("host"), environ, app=app) as host:
        yield host


@pytest.fixture(scope="session")
def bridge_app(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the bridge on separate storage, with five sources in addition to the default one."""
    names = ("first", "second", "third", "fourth", "fifth")
    with (
        Azurite.start() as storage,
        running_app(kind, tmp_path_factory.mktemp("host"), storage, more_sources=names) as running,
    ):
        assert running.call("GET", "health").ok, running.call("GET", "status").text
        yield running
