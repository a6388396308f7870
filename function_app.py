"""Every entrance of the bridge: the routes of the HTTP API, one timer, one queue. Triggers only parse, call and answer.

`bridge/api/routes.py` has the table of the routes.
"""

import os
from collections.abc import Callable
from typing import Any

import azure.functions as func

from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.api.routes import HEALTH, ROUTES, Handler, Route
from bridge.app import App

bridge = App.from_environment(os.environ)
app = func.FunctionApp(http_auth_level=bridge.level)


def serve(route: Route[Any], function: Callable[[func.HttpRequest], object]) -> None:
    """Add the HTTP function of a route: the table has its name, path, methods and level."""
    level = func.AuthLevel.ANONYMOUS if route.is_open else bridge.level
    app.function_name(route.name)(app.route(route.path, methods=route.methods, auth_level=level)(function))


def answering(route: Route[Handler]) -> Callable[[func.HttpRequest], func.HttpResponse]:
    """Make the function that the worker calls for each request of a route."""

    def answer(req: func.HttpRequest) -> func.HttpResponse:
        return bridge.answer(route, req)

    return answer


async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Answer at once: an async function does not wait for a thread of the pool."""
    return bridge.health(req)


for each in ROUTES:
    serve(each, answering(each))
serve(HEALTH, health)


@app.timer_trigger("timer", schedule="%BRIDGE_POLL_SCHEDULE%", run_on_startup=False, use_monitor=True)
def sweep(timer: func.TimerRequest) -> None:
    """Run one sweep."""
    bridge.sweep()


@app.queue_trigger("message", queue_name=DELIVERIES_QUEUE, connection="AzureWebJobsStorage")
def deliver(message: func.QueueMessage) -> None:
    """Make one attempt."""
    bridge.deliver(message.get_body(), message_id=message.id, inserted=message.insertion_time)
