"""Apps that the host rejects, with the reason."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from local.errors import LocalError
from local.host.configuration import read_host_json
from local.host.index import QueueTrigger, TimerTrigger, index

SETTINGS = {"AzureWebJobsStorage": "storage", "SCHEDULE": "*/10 * * * * *", "QUEUE": "Deliveries"}

HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)\n"

HTTP = """
@app.route("things", methods=["GET"])
def things(req: func.HttpRequest) -> func.HttpResponse: ...
"""

TIMER = """
@app.timer_trigger("timer", schedule="%SCHEDULE%", use_monitor=False)
def tick(timer: func.TimerRequest) -> None: ...
"""

QUEUE = """
@app.queue_trigger("message", queue_name="%QUEUE%", connection="AzureWebJobsStorage")
def deliver(message: func.QueueMessage) -> None: ...
"""


def test_functions_come_by_name_with_their_settings_resolved(make_app: Callable[..., Path]) -> None:
    """Azure tries routes in this order. Queue names are converted to lower case."""
    folder = make_app(TIMER + HTTP + QUEUE, head=HEAD)

    deliver, things, tick = index(folder, SETTINGS, prefix="api")

    assert (deliver.name, things.name, tick.name) == ("deliver", "things", "tick")
    assert deliver.trigger == QueueTrigger(queue_name="deliveries", connection_string="storage")
    assert isinstance(tick.trigger, TimerTrigger)
    assert tick.trigger.schedule.expression == "*/10 * * * * *"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", r"ModuleNotFoundError: No module named 'no_such_module' \(.*function_app.py:3\)"),
        ("def broken(:", "SyntaxError"),
        ("app = None", "exactly one FunctionApp at its top level; it has 0"),
        ("second = func.FunctionApp()", "exactly one FunctionApp at its top level; it has 2"),
        (HTTP + HTTP.replace("things", "other", 1), "things does not have a unique function name"),
        (HTTP + HTTP.replace("def things", "def other"), "the route 'things' of things conflicts .* 'other'"),
        (HTTP.replace("things", "admin/x", 1), "conflicts with one or more built in routes"),
        (HTTP.replace("things", "{id:int}", 1), "'{id:int}' is not modelled here"),
        (HTTP.replace("req:", "request:"), "must take one parameter, req"),
        (HTTP.replace("HttpRequest", "TimerRequest"), "httpTrigger does not go with req"),
        (HTTP.replace("-> func.HttpResponse", "-> int"), "httpTrigger does not go with -> <class 'int'>"),
        (HTTP.replace("func.HttpRequest", "'Request'"), "things: name 'Request' is not defined"),
        (TIMER.replace("%SCHEDULE%", "%NOWHERE%"), "%NOWHERE% does not resolve to a value: set NOWHERE"),
        (TIMER.replace("%SCHEDULE%", "hourly"), "'hourly' is not an NCRONTAB expression"),
        (TIMER.replace(", use_monitor=False", ", run_on_startup=True"), "not run on startup"),
        (QUEUE.replace("AzureWebJobsStorage", "Elsewhere"), "the storage connection Elsewhere is not set"),
        (
            '@app.blob_trigger("b", path="p", connection="c")\ndef blob(b: func.InputStream) -> None: ...',
            "blob: this host does not model blobTrigger",
        ),
    ],
)
def test_app_that_azure_would_not_load_is_rejected(make_app: Callable[..., Path], code: str, reason: str) -> None:
    """On Azure, the functions would be missing. Here, one line has the reason."""
    folder = make_app(code, head=HEAD)

    with pytest.raises(LocalError, match=reason) as refused:
        index(folder, SETTINGS, prefix="api")

    assert "\n" not in str(refused.value)


def test_folder_without_an_app_is_rejected(tmp_path: Path) -> None:
    """The message helps with a wrong --app."""
    with pytest.raises(LocalError, match=r"function_app\.py does not exist"):
        index(tmp_path, SETTINGS, prefix="api")


def test_host_json_has_azures_defaults(tmp_path: Path) -> None:
    """An empty file is sufficient."""
    (tmp_path / "host.json").write_text('{"version": "2.0"}')

    options = read_host_json(tmp_path)

    assert options.route_prefix == "api"
    assert options.queues.batch_size == 16
    assert options.queues.threshold == 8
    assert options.queues.max_dequeue_count == 5
    assert options.queues.max_polling_interval.total_seconds() == 60
    assert options.queues.visibility_timeout.total_seconds() == 0
    assert options.queues.message_encoding == "base64"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "host.json does not exist"),
        ("{", "is not JSON"),
        ("{}", '"version" must be "2.0"'),
        ('{"version": "2.0", "extensions": {"queues": {"newBatchTreshold": 1}}}', "newBatchTreshold: Extra"),
        ('{"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}', "batchSize: .* less than or equal to 32"),
        ('{"version": "2.0", "extensions": {"queues": {"messageEncoding": "utf8"}}}', "messageEncoding"),
        ('{"version": "2.0", "extensions": {"queues": {"maxPollingInterval": "00:00:00"}}}', "maxPollingInterval"),
    ],
)
def test_host_json_that_azure_would_not_apply_is_rejected(tmp_path: Path, text: str | None, reason: str) -> None:
    """This includes misspelled settings, which Azure ignores without a message."""
    if text is not None:
        (tmp_path / "host.json").write_text(text)

    with pytest.raises(LocalError, match=reason) as refused:
        read_host_json(tmp_path)

    assert re.match(re.escape(str(tmp_path)), str(refused.value))
