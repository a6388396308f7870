"""Every entrance of the bridge: fifteen HTTP calls, one timer, one queue. Triggers only parse, call and answer."""

import os

import azure.functions as func

from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.api.handlers import Handlers
from bridge.app import App

bridge = App.from_environment(os.environ)
app = func.FunctionApp(http_auth_level=bridge.level)


@app.route("registrations", methods=["POST"])
def register(req: func.HttpRequest) -> func.HttpResponse:
    """Register a callback for an operation."""
    return bridge.answer(Handlers.register, req)


@app.route("registrations", methods=["GET"])
def list_registrations(req: func.HttpRequest) -> func.HttpResponse:
    """List registrations, newest first."""
    return bridge.answer(Handlers.list_registrations, req)


@app.route("registrations/{id}", methods=["GET"])
def read_registration(req: func.HttpRequest) -> func.HttpResponse:
    """Show a registration, its operation and its attempts."""
    return bridge.answer(Handlers.read_registration, req)


@app.route("registrations/{id}", methods=["DELETE"])
def cancel_registration(req: func.HttpRequest) -> func.HttpResponse:
    """Cancel a registration."""
    return bridge.answer(Handlers.cancel_registration, req)


@app.route("registrations/{id}/redeliver", methods=["POST"])
def redeliver(req: func.HttpRequest) -> func.HttpResponse:
    """Deliver the same message again."""
    return bridge.answer(Handlers.redeliver, req)


@app.route("redeliver", methods=["POST"])
def redeliver_many(req: func.HttpRequest) -> func.HttpResponse:
    """Deliver again what is dead, after an outage at the receiver's."""
    return bridge.answer(Handlers.redeliver_many, req)


@app.route("callbacks/ping", methods=["POST"])
def ping(req: func.HttpRequest) -> func.HttpResponse:
    """Send a ping now, and say what came back."""
    return bridge.answer(Handlers.ping, req)


@app.route("operations/{id}", methods=["GET"])
def read_operation(req: func.HttpRequest) -> func.HttpResponse:
    """Show what is known of an operation."""
    return bridge.answer(Handlers.read_operation, req)


@app.route("status", methods=["GET"])
def status(req: func.HttpRequest) -> func.HttpResponse:
    """Show how the bridge is."""
    return bridge.answer(Handlers.status, req)


@app.route("overview", methods=["GET"])
def overview(req: func.HttpRequest) -> func.HttpResponse:
    """Show the last day, and what was learnt."""
    return bridge.answer(Handlers.overview, req)


@app.route("signing-secret", methods=["GET"])
def signing_secret(req: func.HttpRequest) -> func.HttpResponse:
    """Show what callbacks to an origin are verified with."""
    return bridge.answer(Handlers.signing_secret, req)


@app.route("signing-keys", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def signing_keys(req: func.HttpRequest) -> func.HttpResponse:
    """Publish what everybody verifies callbacks with."""
    return bridge.answer(Handlers.signing_keys, req, to_anybody=True)


@app.route("openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def describe(req: func.HttpRequest) -> func.HttpResponse:
    """Describe the API."""
    return bridge.answer(Handlers.describe, req, to_anybody=True)


@app.route("dashboard", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def dashboard(req: func.HttpRequest) -> func.HttpResponse:
    """Serve the page that shows all this."""
    return bridge.answer(Handlers.dashboard, req, to_anybody=True)


@app.route("health", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether the app is alive, at once: an async function does not wait for a thread of the pool."""
    return bridge.health(req)


@app.timer_trigger("timer", schedule="%BRIDGE_POLL_SCHEDULE%", run_on_startup=False, use_monitor=True)
def sweep(timer: func.TimerRequest) -> None:
    """Do what is due."""
    bridge.sweep()


@app.queue_trigger("message", queue_name=DELIVERIES_QUEUE, connection="AzureWebJobsStorage")
def deliver(message: func.QueueMessage) -> None:
    """Make one attempt."""
    bridge.deliver(message.get_body(), message_id=message.id, inserted=message.insertion_time)
