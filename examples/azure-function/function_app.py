"""Receive callbacks of the bridge with Azure Functions: verify, put into a queue, answer at once, work later.

Settings: `WEBHOOK_SECRET`, or `WEBHOOK_PUBLIC_KEYS` with `WEBHOOK_AUDIENCE` and `WEBHOOK_SUBSCRIBER`; and
`AzureWebJobsStorage`, the connection string of the storage account that has the queue and the table.
"""

import functools
import json
import logging
import os
from typing import Any

import azure.functions as func
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from claims import Claims
from verification import NotForUs, Verifier

_QUEUE = "callbacks"
_TABLE = "callbacks"

#: More than any callback has, and little enough for a queue message.
_MOST_BYTES = 32_768

_logger = logging.getLogger("receiver")
logging.getLogger("azure").setLevel(logging.WARNING)

# No function key: the signature says who calls.
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def work(event: dict[str, Any]) -> None:
    """Do what the callback is good for: this is the place for your own code.

    After a crash it can be called again for the same event, so do what may be done twice. What it raises is logged,
    and the queue brings the event again, five times; after that it is in the queue `callbacks-poison`.
    """
    _logger.info("%s: %s is %s", event["type"], event["data"]["operationId"], event["data"]["status"])


@app.route("callback", methods=["POST"])
def receive(req: func.HttpRequest) -> func.HttpResponse:
    """Answer 204 as soon as the callback is in the queue; 401 tells the bridge's operator why not."""
    body = req.get_body()
    if len(body) > _MOST_BYTES:
        return func.HttpResponse(status_code=413)
    try:
        event = _verifier().verify(body, req.headers)
    except NotForUs as error:
        _logger.warning("refused a request: %s", error)
        return func.HttpResponse(str(error), status_code=401)
    message_id = req.headers["webhook-id"]
    if event["type"] == "bridge.ping":
        _logger.info("%s: the bridge reaches this receiver", message_id)
    else:
        _enqueue(f"{message_id}\n{body.decode()}")
    return func.HttpResponse(status_code=204)


@app.queue_trigger("message", queue_name=_QUEUE, connection="AzureWebJobsStorage")
def work_off(message: func.QueueMessage) -> None:
    """Work on one callback, unless that was done."""
    message_id, _, body = message.get_body().decode().partition("\n")
    with _claims().claim(message_id) as is_ours:
        if not is_ours:
            _logger.info("%s came before", message_id)
            return
        work(json.loads(body))
    _logger.info("worked on %s", message_id)


def _enqueue(text: str) -> None:
    """Put a message into the queue, making that first where it does not exist."""
    queue = _queue()
    try:
        queue.send_message(text)
    except ResourceNotFoundError:
        try:
            queue.create_queue()
        except ResourceExistsError:
            _logger.info("another instance made the queue")
        queue.send_message(text)


# Made at the first call and not at import: an app that cannot be imported is one without functions, which answers 404
# and says nothing. Like this a wrong setting is a 500 with its reason in the log, and the bridge tries again.


@functools.cache
def _verifier() -> Verifier:
    return Verifier.from_environment(os.environ)


@functools.cache
def _queue() -> QueueClient:
    storage, policy = os.environ["AzureWebJobsStorage"], TextBase64EncodePolicy()
    return QueueClient.from_connection_string(storage, _QUEUE, message_encode_policy=policy)


@functools.cache
def _claims() -> Claims:
    return Claims(TableClient.from_connection_string(os.environ["AzureWebJobsStorage"], _TABLE))
