"""Receive callbacks of the bridge with FastAPI: verify, keep, answer at once, work later.

Run: `uvicorn receiver:app --port 8000`, with `WEBHOOK_SECRET` in the environment, or with `WEBHOOK_PUBLIC_KEYS`,
`WEBHOOK_AUDIENCE` and `WEBHOOK_SUBSCRIBER`. The inbox is the file `INBOX`, by default `inbox.sqlite` in the present
folder.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response

from inbox import Inbox
from verification import NotForUs, Verifier
from worker import Worker

#: More than any callback has; whoever sends more is a stranger.
_MOST_BYTES = 65_536

_logger = logging.getLogger("receiver")


def work(event: dict[str, Any]) -> None:
    """Do what the callback is good for: this is the place for your own code.

    After a crash it can be called again for the same event, so do what may be done twice. What it raises is logged,
    and the event comes again.
    """
    _logger.info("%s: %s is %s", event["type"], event["data"]["operationId"], event["data"]["status"])


@asynccontextmanager
async def _running(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Read the settings and start the worker; raises ValueError where a setting is wrong, and nothing starts."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(message)s")
    verifier = Verifier.from_environment(os.environ)
    inbox = Inbox(Path(os.environ.get("INBOX", "inbox.sqlite")))
    with Worker(inbox, work) as worker:
        yield {"verifier": verifier, "inbox": inbox, "worker": worker}


app = FastAPI(lifespan=_running, openapi_url=None)


async def _raw_body(request: Request) -> bytes:
    """Read the bytes as they came: they are what was signed, not what a JSON parser makes of them."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise HTTPException(413)
    return bytes(body)


# Not async: FastAPI runs it in a thread, so that a slow disk holds up nobody else.
@app.post("/callback")
def receive(request: Request, body: Annotated[bytes, Depends(_raw_body)]) -> Response:
    """Answer 204 as soon as the callback is on disk; 401 tells the bridge's operator why not."""
    try:
        event = request.state.verifier.verify(body, request.headers)
    except NotForUs as error:
        _logger.warning("refused a request: %s", error)
        return Response(str(error), status_code=401, media_type="text/plain")
    message_id = request.headers["webhook-id"]
    if event["type"] == "bridge.ping":
        _logger.info("%s: the bridge reaches this receiver", message_id)
    elif request.state.inbox.keep(message_id, body.decode()):
        request.state.worker.wake()
    else:
        _logger.info("%s came before", message_id)
    return Response(status_code=204)
