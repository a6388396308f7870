"""Strategies for input from outsiders: arbitrary, with extra weight on values that are likely to do harm."""

import json
from datetime import UTC, datetime

from hypothesis import strategies as st

from bridge.domain.registration import State
from bridge.storage.records import SCHEMA_VERSION
from bridge.storage.table import Value

#: The operation of the fuzzed rows, and the operation that must stay unaffected.
VICTIM, OTHER = "operation-1", "operation-2"
URL = "https://receiver.example.com/hook"
_REGISTRATION = f"default~{VICTIM}~0123456789abcdef"
_JOB = f"default.jobs~{VICTIM}~0123456789abcdef"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
_times = (
    st.sampled_from(["0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "2026-11-23T11:00:00.1234567"]) | json_values
)
answers = st.binary(max_size=60) | st.one_of(
    json_values,
    st.fixed_dictionaries(
        {"status": st.sampled_from(["Succeeded", "Failed", "Running"]) | json_values},
        optional={"createdDateTime": _times, "lastActionDateTime": _times, "properties": json_values},
    ),
).map(lambda value: json.dumps(value).encode())
columns = st.one_of(
    st.text(max_size=20),
    st.integers(-(2**62), 2**62),
    st.sampled_from([-1, 0, 1, 2, 2**31]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.binary(max_size=20),
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "https://[", "{", "null"]),
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "operationId": st.sampled_from([VICTIM, "ab", "x" * 65, "a:b"]) | json_values,
        "jobId": st.sampled_from([VICTIM, "ab", "a:b"]) | json_values,
        "jobLocation": st.sampled_from(["https://speech.example.com/avatar/batchsyntheses/abc", "//["]) | json_values,
        "operationLocation": st.sampled_from(["https://speech.example.com/avatar/operations/abc", "//["]) | json_values,
        "callbackUrl": st.sampled_from([URL, "https://[::1]/", "https://x@y/", "https://127.1/", "//"]) | json_values,
        "source": st.sampled_from(["default", "other"]) | json_values,
        "events": st.lists(st.sampled_from(["Succeeded", "Failed", "Ended"]), max_size=3) | json_values,
        "metadata": json_values,
        "format": st.sampled_from(["standard", "Standard"]) | json_values,
        "more": json_values,
    },
)
messages = st.fixed_dictionaries(
    {
        "v": st.sampled_from([SCHEMA_VERSION, SCHEMA_VERSION + 1, -1]) | json_values,
        "registration": st.sampled_from([_REGISTRATION, _JOB, "default~x", "default.jobs~x"]) | json_values,
        "generation": st.integers(-1, 2**60) | json_values,
        "attempt": st.integers(-1, 2**70) | json_values,
    },
    optional={"newer": json_values},
)
keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.from_regex(r"[0-9]{0,14}:(poll|deliver|purge|party):[a-z~:.-]{0,40}", fullmatch=True),
    st.sampled_from([f"0000000000001:poll:default:{VICTIM}", "0000000000001:deliver:default:x", "1", "0", "0:::"]),
    st.sampled_from([f"{collection}:{VICTIM}" for collection in ("default.jobs", ".jobs", "default.jobs.jobs")]),
)


#: Likely harmful values by column, and arbitrary values.
_NASTY: dict[str, list[Value]] = {
    "callback_url": ["https://[", "x", "", "https://a/?…", "?…"],
    "query": ["x", "v2:", "v2:0123456789abcdef:AAAA"],
    "metadata": ["{", "null", "[1]"],
    "body": ["{", "NaN"],
    "faults": [-9, 2**40],
    "absences": [-9, 2**40],
    "refusals": [-9],
    "polls": [-9, 2**62],
    "due": ["x", "due:x", ""],
    "state": [*State, "x"],
    "final_status": ["Succeeded", "Expired", "x"],
    "last_attempt": [-9, 10**7],
    "run_start": [-9, 10**7],
    "number": [-9, 0, 10**7],
    "sends": [-9, 10**9],
    "message_body": [b"", "x"],
    "message_id": ["\n", ""],
    "claim": ["x"],
    "events": ["", "x"],
    "v": [SCHEMA_VERSION + 1, "x"],
}
_INSTANTS = (
    "registered_at",
    "since",
    "generation",
    "next_attempt_at",
    "leased_until",
    "absent_since",
    "finished_at",
    "created_at",
    "ended_at",
    "delay_from",
    "at",
)
_ENDS_OF_TIME: tuple[Value, ...] = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_NASTY |= {name: list(_ENDS_OF_TIME) for name in _INSTANTS}

writings = st.sampled_from(sorted(_NASTY)).flatmap(
    lambda name: st.fixed_dictionaries({name: st.sampled_from(_NASTY[name]) | columns})
)
