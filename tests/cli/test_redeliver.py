"""The output of `redeliver` is true: an attempt now, a new run, or nothing during an attempt."""

import pytest

from tests.support.cli import Terminal, type_in
from tests.support.fake_bridge import FakeBridge, attempt, problem, registration
from tests.support.harness import NOON

ID, OTHER, THIRD = (f"default~operation-{number}~0123456789abcdef" for number in range(3))


def test_each_registration_gets_the_line_of_what_happens_to_it(fake: FakeBridge) -> None:
    pending = registration(ID, state="pending", attempts=[attempt(401)], nextAttemptAt="2026-11-23T12:04:00.000Z")
    in_flight = registration(OTHER, state="pending", attempts=[attempt(401), attempt()])
    fake.script(f"GET registrations/{ID}", (200, pending))
    fake.script(f"POST registrations/{ID}/redeliver", (202, {**pending, "nextAttemptAt": "2026-11-23T12:01:00.000Z"}))
    fake.script(f"GET registrations/{OTHER}", (200, in_flight))
    fake.script(f"POST registrations/{OTHER}/redeliver", (202, in_flight))
    fake.script(f"GET registrations/{THIRD}", (200, registration(THIRD, state="dead", attempts=[attempt(410)])))
    fake.script(f"POST registrations/{THIRD}/redeliver", (202, registration(THIRD, state="pending")))

    output = type_in("redeliver", ID, OTHER, THIRD, environment=fake.environment)
    as_json = type_in("redeliver", ID, OTHER, THIRD, "--json", environment=fake.environment)

    assert output.exit == 0
    assert output.out.splitlines() == [
        f"{ID}  the next attempt is made now",
        f"{OTHER}  an attempt is in flight, so nothing has changed",
        f"{THIRD}  a new run of attempts has begun",
    ]
    assert as_json.json == {"started": 2, "registrations": [ID, THIRD], "unchanged": [OTHER], "more": False}


def test_a_new_run_whose_first_attempt_is_in_flight_already_has_begun(fake: FakeBridge) -> None:
    fake.script(f"GET registrations/{ID}", (200, registration(state="dead")))
    fake.script(f"POST registrations/{ID}/redeliver", (202, registration(state="pending", attempts=[attempt()])))

    output = type_in("redeliver", ID, environment=fake.environment)

    assert output.out == f"{ID}  a new run of attempts has begun\n"


def test_those_before_a_refused_one_are_reported(fake: FakeBridge) -> None:
    fake.script(f"GET registrations/{ID}", (200, registration(state="dead")))
    fake.script(f"POST registrations/{ID}/redeliver", (202, registration(state="pending")))
    fake.script(f"GET registrations/{OTHER}", (200, registration(OTHER)))
    fake.script(f"POST registrations/{OTHER}/redeliver", (409, problem("NoMessageYet", "There is no message.")))

    output = type_in("redeliver", ID, OTHER, environment=fake.environment)

    assert (output.exit, output.err) == (3, "NoMessageYet: There is no message.\n")
    assert output.out == f"{ID}  a new run of attempts has begun\n"


@pytest.mark.parametrize(
    ("options", "states"),
    [(("--pending",), ["pending"]), (("--dead",), ["dead"]), (("--dead", "--pending"), ["pending", "dead"])],
)
def test_many_are_selected_by_state_and_conditions(
    fake: FakeBridge, options: tuple[str, ...], states: list[str]
) -> None:
    fake.script("POST redeliver", (202, {"started": 1, "registrations": [ID], "more": False, "cursor": None}))
    times = ("--since", "2h", "--until", "2026-11-23T13:00:00+01:00")
    chosen = ("--host", "hooks.example.com", *times, "--outcome", "5XX", "--group", "vp9", "--limit", "7")

    type_in("redeliver", *options, environment=fake.environment)
    output = type_in("redeliver", *options, *chosen, environment=fake.environment, clock=lambda: NOON)

    assert output.out == f"{ID}  an attempt follows within a minute\n"
    assert [call.body for call in fake.calls] == [
        {"states": states, "limit": 100},
        {
            "states": states,
            "host": "hooks.example.com",
            "since": "2026-11-23T10:00:00.000Z",
            "until": "2026-11-23T12:00:00.000Z",
            "outcome": "5xx",
            "group": "vp9",
            "limit": 7,
        },
    ]


@pytest.mark.parametrize(
    ("limit", "sizes", "is_all"), [((), [100, 100, 100], True), (("--limit", "130"), [100, 28], False)]
)
def test_many_are_read_on_until_there_are_no_more_or_the_limit_is_reached(
    fake: FakeBridge, limit: tuple[str, ...], sizes: list[int], is_all: bool
) -> None:
    """A page can be short: each call reads a bounded part of the list."""
    ids = [f"default~operation-{number}~0123456789abcdef" for number in range(230)]
    pages = [(ids[:102], "c1"), (ids[102:130], "c2"), (ids[130:], None)]
    fake.script(
        "POST redeliver",
        *(
            (202, {"started": len(page), "registrations": page, "more": cursor is not None, "cursor": cursor})
            for page, cursor in pages
        ),
    )

    output = type_in("redeliver", "--pending", *limit, environment=fake.environment)

    assert [call.body["limit"] for call in fake.calls] == sizes
    assert [call.body.get("cursor") for call in fake.calls] == [None, "c1", "c2"][: len(sizes)]
    assert len([line for line in output.out.splitlines() if line.endswith("within a minute")]) == (
        230 if is_all else 130
    )
    assert ("there are more than --limit" in output.out) is not is_all


def test_a_page_that_promises_more_without_a_cursor_ends_the_command(fake: FakeBridge) -> None:
    fake.script("POST redeliver", (202, {"started": 0, "registrations": [], "more": True, "cursor": None}))

    output = type_in("redeliver", "--dead", environment=fake.environment)

    assert (output.out, len(fake.calls)) == ("no registration matches\n", 1)


def test_a_dry_run_shows_hosts_and_outcomes_and_orders_nothing_else(fake: FakeBridge) -> None:
    counted = {
        "total": 19,
        "byHost": [
            {"host": "hooks.example.com:8443", "outcome": "410", "count": 12},
            {"host": "other.example.com", "outcome": "timeout", "count": 6},
            {"host": "other.example.com", "outcome": None, "count": 1},
        ],
        "more": True,
    }
    fake.script("POST redeliver", (200, counted))

    in_pipe = type_in("redeliver", "--dead", "--dry-run", environment=fake.environment)
    on_terminal = type_in("redeliver", "--dead", "--dry-run", environment=fake.environment, out=Terminal())
    as_json = type_in("redeliver", "--dead", "--dry-run", "--json", "--limit", "7", environment=fake.environment)

    assert [call.body.pop("limit") for call in fake.calls] == [500, 500, 7]
    assert [call.body for call in fake.calls] == [{"states": ["dead"], "dryRun": True}] * 3
    assert in_pipe.out.splitlines() == [
        "hooks.example.com:8443\t410\t12",
        "other.example.com\ttimeout\t6",
        "other.example.com\tno attempt yet\t1",
    ]
    assert "19 or more match; nothing has changed" in on_terminal.out
    assert as_json.json == counted


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (ID, "--dead"),
        (ID, "--pending"),
        (ID, "--dry-run"),
        (ID, "--host", "hooks.example.com"),
        (ID, "--limit", "5"),
        ("--since", "2h"),
        ("--dead", "--since", "yesterday"),
        ("--dead", "--outcome", "teapot"),
        ("--dead", "--limit", "0"),
    ],
)
def test_an_unclear_order_is_a_usage_error_before_any_request(fake: FakeBridge, arguments: tuple[str, ...]) -> None:
    output = type_in("redeliver", *arguments, environment=fake.environment)

    assert (output.exit, fake.calls) == (2, [])
