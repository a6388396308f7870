"""Meaning of the upstream's answers. The examples come from the API and related APIs."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.ids import Kind, OperationRef
from bridge.domain.operation import Explanation, FinalStatus, PollError, PollErrorKind
from bridge.domain.upstream import (
    CLIENT_ERRORS,
    LONGEST_NAMED_STOP,
    MAX_BODY_BYTES,
    BadRequest,
    NoReply,
    NotFound,
    Pending,
    PollResult,
    Reply,
    Terminal,
    Throttled,
    TransientError,
    Unauthorized,
    read,
)
from tests.support.factories import JOB_SECRET, job_reply, source
from tests.support.poll_errors import NO_TOKEN, TIMED_OUT, TIMEOUT, http_error

EXAMPLES = json.loads((Path(__file__).parent.parent / "facts" / "upstream-responses.json").read_text())

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

#: The expected result of each example.
KINDS = {
    "running (reference sample)": Pending,
    "not started": Pending,
    "succeeded (from the schema)": Terminal,
    "failed (from the schema)": Terminal,
    "canceled (video translation)": Terminal,
    "unknown status": Pending,
    "other letter case": Terminal,
    "status missing": TransientError,
    "another operation's id": TransientError,
    "not JSON": TransientError,
    "empty 204 for a job that does not exist": NotFound,
    "bad request": BadRequest,
    "bearer token on a regional host": BadRequest,
    "wrong key (gateway)": Unauthorized,
    "no role": Unauthorized,
    "not found (from the schema)": NotFound,
    "throttled with seconds": Throttled,
    "throttled without a hint": Throttled,
    "flat 500 (sibling)": TransientError,
    "unavailable": Throttled,
}


ASKED = OperationRef("default", "operation-1")


def reply_of(example: dict[str, Any]) -> Reply:
    """Return an example as a reply."""
    body = json.dumps(example["body"]) if "body" in example else example["text"]
    return Reply(status=example["status"], body=body.encode(), retry_after=example["headers"].get("Retry-After"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_every_known_answer_is_parsed(example: dict[str, Any]) -> None:
    """The results: a final status, running, or an error to retry."""
    named = example.get("body", {}).get("id", ASKED.id)
    asked = ASKED if named == "some-other-operation" else replace(ASKED, id=named)

    assert isinstance(read(reply_of(example), asked, NOON), KINDS[example["name"]])


@pytest.mark.parametrize(
    ("status", "final_status"),
    [
        ("Succeeded", FinalStatus.SUCCEEDED),
        ("FAILED", FinalStatus.FAILED),
        ("canceled", FinalStatus.CANCELED),
        ("Cancelled", FinalStatus.CANCELED),
        (" Succeeded ", FinalStatus.SUCCEEDED),
    ],
)
def test_letter_case_does_not_matter(status: str, final_status: FinalStatus) -> None:
    """The enumeration is open, and related APIs use other cases."""
    result = read(Reply(status=200, body=json.dumps({"status": status}).encode()), ASKED, NOON)

    assert isinstance(result, Terminal)
    assert result.final_status is final_status


@pytest.mark.parametrize("named", ["OPERATION-1", "operation-1", None])
def test_the_operation_is_recognised(named: str | None) -> None:
    """The reference guarantees neither the id nor the case of the id."""
    result = read(Reply(status=200, body=json.dumps({"id": named, "status": "Running"}).encode()), ASKED, NOON)

    assert result == Pending("Running")


@pytest.mark.parametrize(
    "body",
    [
        '{"id": 7, "status": "Running"}',
        '{"status": 7}',
        '{"status": " "}',
        "[]",
        "7",
        "",
        "NaN",
        "[" * 100_000,
        "\ud800",
        '{"status": null}',
        '{"n": ' + "9" * 5000 + "}",
    ],
)
def test_an_unknown_answer_is_an_error(body: str) -> None:
    assert isinstance(read(Reply(status=200, body=body.encode("utf-8", "surrogatepass")), ASKED, NOON), TransientError)


def test_a_missing_token_is_a_rejected_credential() -> None:
    """No request was sent, but the source pauses."""
    assert read(NO_TOKEN, ASKED, NOON) == Unauthorized(NO_TOKEN.error)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("38", timedelta(seconds=38)),
        ("Mon, 23 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("Mon, 23 Nov 2026 11:00:00 GMT", None),
        ("Tue, 23 Nov 2027 12:00:00 GMT", LONGEST_NAMED_STOP),
        ("999999999", LONGEST_NAMED_STOP),
        ("600.5", timedelta(seconds=601)),
        ("-5", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_429_may_have_a_time(header: str | None, wait: timedelta | None) -> None:
    """The time is in seconds or a date. Other values are ignored, and a pause never lasts a year."""
    result = read(Reply(status=429, retry_after=header), ASKED, NOON)

    assert result == Throttled(http_error(429), wait)


def test_a_503_without_a_time_is_an_error() -> None:
    """Without a time, a 503 affects one poll. With a time, the source pauses."""
    assert isinstance(read(Reply(status=503), ASKED, NOON), TransientError)


#: The meaning of each client error. The rest concern a gateway or a temporary state.
ABOUT_THE_REQUEST = {400, 405, 413, 414, 415, 416, 422, 431}
ABOUT_THE_OPERATION = {404, 410}
ABOUT_THE_SOURCE = {401: Unauthorized, 403: Unauthorized, 429: Throttled}


def kind_of(status: int) -> type[PollResult]:
    """Return the expected result of a client error."""
    if status in ABOUT_THE_REQUEST:
        return BadRequest
    return NotFound if status in ABOUT_THE_OPERATION else ABOUT_THE_SOURCE.get(status, TransientError)


def test_the_table_has_each_client_error_with_a_reason() -> None:
    """The range is 400 to 499."""
    assert set(CLIENT_ERRORS) == set(range(400, 500))
    assert all(why for _, why in CLIENT_ERRORS.values())


@pytest.mark.parametrize("status", range(400, 500))
def test_each_client_error_has_the_result_of_the_table(status: int) -> None:
    """With and without a body."""
    for body in (b"", b'{"error": {"code": "X", "message": "y"}}', b"<html>"):
        assert type(read(Reply(status=status, body=body), ASKED, NOON)) is kind_of(status)


@pytest.mark.parametrize("status", [301, 408, 425, 500, 502, 599])
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", timedelta(minutes=2)),
        ("600.5", timedelta(seconds=601)),
        ("Mon, 23 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("999999999", LONGEST_NAMED_STOP),
        ("soon", None),
        (None, None),
    ],
)
def test_an_error_may_have_a_time(status: int, header: str | None, wait: timedelta | None) -> None:
    """Only the next poll of this operation waits, not the other operations of the source."""
    result = read(Reply(status=status, retry_after=header), ASKED, NOON)

    assert result == TransientError(http_error(status), wait)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        ({"code": "Quota"}, "HTTP 401 (Quota)"),
        ({"message": "No more"}, "HTTP 401 (No more)"),
        ({"code": "c" * 65, "message": "m" * 301}, f"HTTP 401 ({'c' * 64}: {'m' * 300})"),
        ({"message": "see https://a.example/?sig=1 or sig=abc"}, "HTTP 401 (see … or sig=…)"),
        ({}, "HTTP 401"),
        ("nothing", "HTTP 401"),
    ],
)
def test_an_error_is_shown_without_secrets_up_to_a_limit(error: object, detail: str) -> None:
    """Code, message or both are shown, up to a limit, without possible secrets."""
    body = json.dumps({"error": error}).encode()

    result = read(Reply(status=401, body=body), ASKED, NOON)
    assert result == Unauthorized(PollError(PollErrorKind.UNAUTHORIZED, detail))


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=204), PollErrorKind.NOT_FOUND),
        (Reply(status=401), PollErrorKind.UNAUTHORIZED),
        (Reply(status=401, retry_after="60"), PollErrorKind.UNAUTHORIZED),
        (Reply(status=403), PollErrorKind.FORBIDDEN),
        (Reply(status=403, body=b'{"error": {"code": "PermissionDenied"}}'), PollErrorKind.PERMISSION_DENIED),
        (Reply(status=403, body=b'{"code": "PermissionDenied", "message": "x"}'), PollErrorKind.PERMISSION_DENIED),
        (Reply(status=403, body=b'{"error": {"code": "403", "message": "No quota."}}'), PollErrorKind.FORBIDDEN),
        (Reply(status=403, retry_after="80000"), PollErrorKind.QUOTA_EXCEEDED),
        (Reply(status=404), PollErrorKind.NOT_FOUND),
        (Reply(status=422), PollErrorKind.BAD_REQUEST),
        (Reply(status=408), PollErrorKind.GATEWAY_ERROR),
        (Reply(status=429), PollErrorKind.RATE_LIMITED),
        (Reply(status=500), PollErrorKind.SERVER_ERROR),
        (Reply(status=503), PollErrorKind.SERVER_ERROR),
        (Reply(status=503, retry_after="60"), PollErrorKind.SERVICE_UNAVAILABLE),
        (Reply(status=100), PollErrorKind.INVALID_RESPONSE),
        (Reply(status=202), PollErrorKind.INVALID_RESPONSE),
        (Reply(status=301), PollErrorKind.INVALID_RESPONSE),
        (Reply(status=200, body=b"<html>"), PollErrorKind.INVALID_RESPONSE),
        (Reply(status=200, body=b'{"id": "other", "status": "Running"}'), PollErrorKind.INVALID_RESPONSE),
        (TIMED_OUT, PollErrorKind.TIMEOUT),
        (NO_TOKEN, PollErrorKind.CREDENTIAL_UNAVAILABLE),
    ],
)
def test_error_has_the_kind_of_its_status_and_headers(reply: Reply | NoReply, kind: PollErrorKind) -> None:
    """Only the status, a header and the error code decide; the message is for people."""
    result = read(reply, ASKED, NOON)

    assert not isinstance(result, Pending | Terminal)
    assert result.error.kind is kind


def test_a_large_body_is_not_kept() -> None:
    """The final status counts nevertheless."""
    body = json.dumps({"status": "Failed", "padding": "x" * MAX_BODY_BYTES}).encode()

    assert read(Reply(status=200, body=body), ASKED, NOON) == Terminal(FinalStatus.FAILED, None)


@pytest.mark.parametrize(("padding", "is_kept"), [(-1, True), (0, True), (1, False)])
def test_a_body_is_kept_compact_and_up_to_its_limit(padding: int, *, is_kept: bool) -> None:
    """The size is that of compact JSON in UTF-8, independent of escapes in the stored text."""
    frame = '{"status":"Failed","padding":""}'
    kept = frame.replace('""', f'"{"x" * (MAX_BODY_BYTES - len(frame) + padding)}"')
    body = kept.replace(":", " : ").encode()

    terminal = Terminal(FinalStatus.FAILED, kept if is_kept else None)
    assert read(Reply(status=200, body=body), ASKED, NOON) == terminal


@pytest.mark.parametrize(("more", "is_kept"), [(0, True), (1, False)])
def test_a_body_in_many_scripts_is_measured_in_bytes_of_utf8(more: int, *, is_kept: bool) -> None:
    frame = len('{"status":"Failed","padding":""}')
    padding = "中" * ((MAX_BODY_BYTES - frame) // 3) + "x" * ((MAX_BODY_BYTES - frame) % 3 + more)
    body = json.dumps({"status": "Failed", "padding": padding}, ensure_ascii=False).encode()

    result = read(Reply(status=200, body=body), ASKED, NOON)

    assert isinstance(result, Terminal)
    assert (result.body is not None) is is_kept


def test_a_body_that_no_json_can_carry_is_not_kept() -> None:
    """Python accepts NaN, but the receiver would not. The final status counts nevertheless."""
    body = b'{"status": "Failed", "progress": NaN}'

    assert read(Reply(status=200, body=body), ASKED, NOON) == Terminal(FinalStatus.FAILED, None)


def test_an_error_has_the_message_of_the_upstream() -> None:
    """Code and message are shown on one line."""
    body = b'{"error": {"code": "401", "message": "Access denied\\n because of the key"}}'

    result = read(Reply(status=401, body=body), ASKED, NOON)
    assert result == Unauthorized(
        PollError(PollErrorKind.UNAUTHORIZED, "HTTP 401 (401: Access denied  because of the key)")
    )
    assert read(TIMED_OUT, ASKED, NOON) == TransientError(TIMEOUT)


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_bytes_can_be_read(status: int, body: bytes) -> None:
    """Raises no exception."""
    assert read(Reply(status=status, body=body), ASKED, NOON) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["id", "status", "error", "code", "message"]), json_values))
def test_any_json_can_be_read(body: dict[str, Any]) -> None:
    """Raises no exception, and the stored body is JSON."""
    result = read(Reply(status=200, body=json.dumps(body).encode()), ASKED, NOON)

    if isinstance(result, Terminal) and result.body is not None:
        json.loads(result.body)


JOB = OperationRef("default", "deck-1", Kind.JOB)


def job(status: object = "Succeeded", **more: object) -> Reply:
    """Return a job as the reference shows one, with the columns that differ."""
    body = {
        "id": "deck-1",
        "status": status,
        "createdDateTime": "2026-11-23T11:31:43.7134142Z",
        "lastActionDateTime": "2026-11-23T11:41:48.1575987",
        "inputKind": "PlainText",
        "properties": {"timeToLiveInHours": 744, "billingDetails": {"talkingAvatarDurationSeconds": 3}},
        "outputs": {"result": f"https://results.example.com/0001.mp4?sig={JOB_SECRET}"},
    }
    return Reply(status=200, body=json.dumps({**body, **more}).encode())


CREATED, ENDED = datetime(2026, 11, 23, 11, 31, 43, 713000, UTC), datetime(2026, 11, 23, 11, 41, 48, 157000, UTC)


def test_a_job_has_its_times_and_no_body() -> None:
    """The example of the reference: seven digits, and an end without a zone, which is UTC. A body has secrets."""
    result = read(job(), JOB, NOON)

    assert result == Terminal(FinalStatus.SUCCEEDED, None, created_at=CREATED, ended_at=ENDED)


@pytest.mark.parametrize("status", ["NotStarted", "Running", "running", "Strange", "Canceled"])
def test_a_job_without_an_end_is_pending_since_its_creation(status: str) -> None:
    """The reference of jobs has no status `Canceled`. The last action of a running job is no end."""
    assert read(job(status), JOB, NOON) == Pending(status, CREATED)


@pytest.mark.parametrize("status", ["Failed", "FAILED", " failed "])
def test_a_failed_job_has_its_error(status: str) -> None:
    """The error is part of the same answer."""
    error = {"code": "InternalServerError", "message": "This job is aborted due to timeout.", "innererror": {}}

    result = read(job(status, properties={"error": error}), JOB, NOON)

    why = Explanation("InternalServerError", "This job is aborted due to timeout.")
    assert result == Terminal(FinalStatus.FAILED, None, why=why, created_at=CREATED, ended_at=ENDED)


@pytest.mark.parametrize("properties", [None, [], "text", 7, {}, {"error": None}, {"error": "text"}, {"error": [1]}])
def test_a_job_can_fail_without_a_readable_error(properties: object) -> None:
    result = read(job("Failed", properties=properties), JOB, NOON)

    assert result == Terminal(FinalStatus.FAILED, None, created_at=CREATED, ended_at=ENDED)


TIMES = [
    ("2026-11-23T11:00:00Z", NOON - timedelta(hours=1)),
    ("2026-11-23T11:00:00", NOON - timedelta(hours=1)),
    ("2026-11-23T11:00:00.0000000Z", NOON - timedelta(hours=1)),
    ("2026-11-23T11:00:00.9999999", NOON - timedelta(hours=1) + timedelta(milliseconds=999)),
    ("2026-11-23T13:00:00+02:00", NOON - timedelta(hours=1)),
    ("2026-11-23T12:05:00Z", NOON + timedelta(minutes=5)),
    ("2026-11-23T12:05:01Z", None),
    ("2025-11-23T12:00:00Z", NOON - timedelta(days=365)),
    ("2025-11-22T11:59:59Z", None),
    ("0001-01-01T00:00:00", None),
    ("0001-01-01T00:00:00+14:00", None),
    ("9999-12-31T23:59:59.9999999Z", None),
    ("9999-12-31T23:59:59-14:00", None),
    ("2026-11-23", None),
    ("soon", None),
    ("", None),
    ("Z", None),
    (1795435200, None),
    (None, None),
    ([], None),
]


@pytest.mark.parametrize(("text", "instant"), TIMES)
def test_a_time_of_a_job_is_read_or_unknown(text: object, instant: datetime | None) -> None:
    """A placeholder of a missing time, like the year 1, would distort ages, and Table storage stores no such time."""
    created, ended = read(job(createdDateTime=text), JOB, NOON), read(job(lastActionDateTime=text), JOB, NOON)

    assert isinstance(created, Terminal)
    assert isinstance(ended, Terminal)
    assert (created.created_at, ended.ended_at) == (instant, instant)
    assert read(job("Running", createdDateTime=text), JOB, NOON) == Pending("Running", instant)


def test_times_are_read_of_jobs_only() -> None:
    """An operation with the same columns has its body, and no times."""
    reply = job(id=ASKED.id)

    result = read(reply, ASKED, NOON)

    assert isinstance(result, Terminal)
    assert (result.created_at, result.ended_at, result.why) == (None, None, None)
    assert result.body is not None


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        (job(id="deck-2"), "HTTP 200 about another job"),
        (job(id=7), "HTTP 200 about another job"),
        (job(None), "HTTP 200 without a status"),
        (job(" "), "HTTP 200 without a status"),
        (Reply(status=200, body=b"[]"), "HTTP 200 without a JSON object"),
    ],
)
def test_an_unknown_answer_about_a_job_is_an_error(reply: Reply, detail: str) -> None:
    assert read(reply, JOB, NOON) == TransientError(PollError(PollErrorKind.INVALID_RESPONSE, detail))


#: Places of a job where the upstream, or a client through the upstream, can put a secret.
SECRETS = [
    job_reply("deck-1", "Succeeded", created_at=CREATED, ended_at=ENDED),
    job_reply("deck-1", "Running", created_at=CREATED),
    job_reply(
        "deck-1", "Failed", error={"code": "X", "message": f"see https://a/?sig={JOB_SECRET} or sig={JOB_SECRET}"}
    ),
    job("Failed", properties={"error": {"code": f"https://a/{JOB_SECRET}", "message": f"SIG%3d{JOB_SECRET}"}}),
    job(f"https://results.example.com/?sig={JOB_SECRET}"),
    job("Running", createdDateTime=JOB_SECRET),
    job(id=f"https://results.example.com/?sig={JOB_SECRET}"),
    Reply(status=400, body=json.dumps({"error": {"code": "X", "message": f"no https://a/?sig={JOB_SECRET}"}}).encode()),
    Reply(status=401, body=json.dumps({"code": f"blob://{JOB_SECRET}", "message": f"sig={JOB_SECRET}"}).encode()),
]


@pytest.mark.parametrize("reply", SECRETS)
def test_a_result_about_a_job_has_no_secret(reply: Reply) -> None:
    assert JOB_SECRET in reply.body.decode()

    assert JOB_SECRET not in repr(read(reply, JOB, NOON))


@given(
    st.dictionaries(
        st.sampled_from(["id", "status", "createdDateTime", "lastActionDateTime", "properties", "outputs", "error"]),
        json_values | st.sampled_from(["Failed", "Succeeded", "deck-1", "0001-01-01T00:00:00+14:00"]),
    )
)
def test_any_json_can_be_read_as_a_job(body: dict[str, Any]) -> None:
    """Raises no exception. Times are whole milliseconds of UTC, and not implausible."""
    result = read(Reply(status=200, body=json.dumps(body).encode()), JOB, NOON)

    times = (result.created_at, getattr(result, "ended_at", None)) if isinstance(result, Pending | Terminal) else ()
    assert all(at is None or (at.tzinfo is UTC and abs(at - NOON) <= timedelta(days=366)) for at in times)
    assert not isinstance(result, Terminal) or result.body is None


REGIONAL = "https://westeurope.api.cognitive.microsoft.com"
HERE = "https://speech.example.com"


@pytest.mark.parametrize(
    ("location", "id_"),
    [
        (f"{HERE}/avatar/batchsyntheses/deck-1?api-version=2024-08-01", "deck-1"),
        (f"{HERE}/avatar/batchsyntheses/deck-1/", "deck-1"),
        (f"{HERE}:443/avatar/batchsyntheses/deck-1", "deck-1"),
        ("HTTPS://SPEECH.EXAMPLE.COM/avatar/batchsyntheses/Deck-1#part", "Deck-1"),
        (f"{REGIONAL}/avatar/batchsyntheses/deck-1", "deck-1"),
        (f"{HERE}/avatar/batchsyntheses/deck%2D1", "deck-1"),
        (f"{HERE}/avatar/batchsyntheses/deck%2F1", None),
        (f"{HERE}/avatar/batchsyntheses/deck-1//", None),
        (f"{HERE}/avatar/batchsyntheses/deck-1/outputs", None),
        (f"{HERE}/avatar/batchsyntheses/", None),
        (f"{HERE}/avatar/batchsyntheses/ab", None),
        (f"{HERE}/avatar/batchsynthesises/deck-1", None),
        (f"{HERE}/avatar/operations/deck-1", None),
        (f"{HERE}/texttospeech/batchsyntheses/deck-1", None),
        (f"{HERE}/speech/avatar/batchsyntheses/deck-1", None),
        ("http://speech.example.com/avatar/batchsyntheses/deck-1", None),
        (f"{HERE}:8443/avatar/batchsyntheses/deck-1", None),
        ("https://other.example.com/avatar/batchsyntheses/deck-1", None),
        ("https://[/avatar/batchsyntheses/deck-1", None),
        (f"{HERE}:port/avatar/batchsyntheses/deck-1", None),
        ("deck-1", None),
        ("", None),
    ],
)
def test_a_location_of_a_job_is_parsed_at_its_source_only(location: str, id_: str | None) -> None:
    found = source(HERE, other_endpoints=(REGIONAL,)).locate(location, Kind.JOB)

    assert found == (None if id_ is None else OperationRef("default", id_, Kind.JOB))


@pytest.mark.parametrize(
    ("path", "has_jobs"),
    [
        ("avatar", True),
        ("texttospeech", True),
        ("customvoice", False),
        ("videotranslation", False),
        ("speechtotext", False),
    ],
)
def test_only_batch_synthesis_has_jobs(path: str, *, has_jobs: bool) -> None:
    """Operations of the same source are found in any case."""
    known = source(HERE, path=path)

    assert known.has_jobs is has_jobs
    assert (known.locate(f"{HERE}/{path}/batchsyntheses/deck-1", Kind.JOB) is not None) is has_jobs
    assert known.locate(f"{HERE}/{path}/operations/deck-1") == OperationRef("default", "deck-1")
    assert known.locate(f"{HERE}/{path}/batchsyntheses/deck-1") is None
