"""Fill in values that depend on the settings of the tested app, and hosts, whose form no pattern can express.

Schemathesis loads this module as its hooks.
"""

import os
from typing import Any

import schemathesis

from tests.support.json_value import Json


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    own = {
        "callbackUrl": os.environ["CALLBACK_URL"],
        "operationLocation": f"{os.environ['SPEECH_ENDPOINT']}/avatar/operations/{os.environ['OPERATION_ID']}",
        "jobLocation": f"{os.environ['SPEECH_ENDPOINT']}/avatar/batchsyntheses/{os.environ['OPERATION_ID']}",
        "source": "default",
        "host": "hooks.example.com:8443",
    }
    return {name: own.get(name, value) if isinstance(value, str) else value for name, value in values.items()}


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Json) -> Json:
    """Fill in a body."""
    return _filled(body) if isinstance(body, dict) else body


@schemathesis.hook
def map_query(context: schemathesis.HookContext, query: Json) -> Json:
    """Fill in a query. Only the bridge can provide a cursor, and a purge would end a sequence of calls early."""
    if query and "operationId" in query:  # a list is by operation or by job
        query = {name: value for name, value in query.items() if name != "jobId"}
    left_out = ("cursor", "purge")
    return {name: value for name, value in _filled(query).items() if name not in left_out} if query else query
