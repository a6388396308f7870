"""The verdict on a callback that the local start prints."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook
from werkzeug import Request, Response

from local.receiver import Callback
from local.verifying import Verifier
from local.web import WebServer

SECRET = "whsec_dGVzdCBrZXkgb2YgMzIgYnl0ZXMsIG5vIHNlY3JldCE="
BODY = json.dumps({"data": {"audience": "http://127.0.0.1:7072"}})


class Api:
    """The call of the API that returns a secret."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        self._lock = threading.Lock()
        self.server = WebServer(Request.application(self._answer))

    def _answer(self, request: Request) -> Response:
        with self._lock:
            self.asked.append((request.args["callbackUrl"], request.headers.get("x-functions-key")))
        return Response(json.dumps({"signingSecret": SECRET}), status=self.status)


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    yield api
    api.server.stop(5)


def callback(body: str = BODY, *, signed: str = BODY, age: timedelta = timedelta()) -> Callback:
    now = datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME), UTC) - age  # the library reads that clock
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, signed),
    }
    return Callback(at=0, method="POST", path="/callback", headers=headers, body=body.encode(), answered=204)


def test_genuine_callback_is_verified_with_the_secret_of_its_audience(api: Api) -> None:
    """The secret is read once, with the key of the host."""
    verifier = Verifier(api.server.url, "a-key")

    verdicts = [verifier.verdict(callback()) for _ in range(2)]

    assert verdicts == ["signature verified"] * 2
    assert api.asked == [("http://127.0.0.1:7072", "a-key")]


@pytest.mark.parametrize(
    "forged", [callback(BODY.replace("7072", "7073")), callback(age=timedelta(hours=1))], ids=["changed", "replayed"]
)
def test_callback_that_is_not_genuine_is_said_to_be_wrong(api: Api, forged: Callback) -> None:
    assert Verifier(api.server.url, None).verdict(forged).startswith("WRONG SIGNATURE: ")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"data": {}}', '{"data": []}', "7"])
def test_signed_nonsense_is_not_checked(api: Api, body: str) -> None:
    assert Verifier(api.server.url, None).verdict(callback(body, signed=body)).startswith("signature not checked: ")


def test_callback_is_not_checked_if_the_api_returns_no_secret(api: Api) -> None:
    """With tokens, for instance, of which the start has none."""
    api.status = 401

    assert Verifier(api.server.url, None).verdict(callback()) == "signature not checked: HTTPError"


def test_request_without_a_signature_gets_no_verdict(api: Api) -> None:
    unsigned = Callback(at=0, method="POST", path="/callback", headers={}, body=b"{}", answered=204)

    assert Verifier(api.server.url, None).verdict(unsigned) == ""
    assert api.asked == []
