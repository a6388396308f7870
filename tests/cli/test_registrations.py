"""The commands for registrations: requests, output and exit codes."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.cli import Terminal, type_in
from tests.support.fake_bridge import FakeBridge, attempt, delivered, problem, registration
from tests.support.harness import NOON

ID, OTHER = "default~operation-1~0123456789abcdef", "default~operation-2~fedcba9876543210"
LEAST = ("register", "--operation-id", "operation-1", "--callback-url", "https://hooks.example.com/avatar")
CREATED = {**registration(), "signingSecret": "whsec_c2VjcmV0"}


def test_register_sends_only_the_given_fields(fake: FakeBridge, tmp_path: Path) -> None:
    """The bridge chooses values for omitted fields."""
    fake.script("POST registrations", (201, CREATED))
    (tmp_path / "metadata.json").write_text('{"video": "intro"}')

    type_in(*LEAST, environment=fake.environment)
    more = ("--event", "Failed", "--event", "Expired", "--metadata", f"@{tmp_path / 'metadata.json'}")
    type_in(*LEAST, *more, "--source", "voices", "--format", "cloudevents", environment=fake.environment)

    least = {"operationId": "operation-1", "callbackUrl": "https://hooks.example.com/avatar"}
    assert [call.body for call in fake.calls] == [
        least,
        {
            **least,
            "source": "voices",
            "events": ["Failed", "Expired"],
            "metadata": {"video": "intro"},
            "format": "cloudevents",
        },
    ]


def test_secret_headers_come_from_sources_that_are_not_public(fake: FakeBridge, tmp_path: Path) -> None:
    """Sources: environment, file, standard input. A public value may be an argument."""
    fake.script("POST registrations", (201, CREATED))
    (tmp_path / "headers").write_text("X-Api-Key: of the file\n\n")
    environment = {**fake.environment, "RECEIVER": "Bearer of the environment"}
    given = ("--header", "X-Tenant: blue", "--header-env", "Authorization: RECEIVER")

    type_in(*LEAST, *given, "--headers-file", str(tmp_path / "headers"), environment=environment)
    type_in(*LEAST, "--headers-file", "-", environment=environment, stdin="Cookie: of the input")

    assert [call.body["headers"] for call in fake.calls] == [
        {"X-Tenant": "blue", "Authorization": "Bearer of the environment", "X-Api-Key": "of the file"},
        {"Cookie": "of the input"},
    ]


def test_a_secret_url_comes_from_a_file(fake: FakeBridge, tmp_path: Path) -> None:
    """A list of processes shows arguments."""
    fake.script("POST registrations", (201, CREATED))
    fake.script("POST callbacks/ping", (200, {"message": {}, **attempt(204)}))
    (tmp_path / "url").write_text("https://hooks.example.com/avatar?code=canary\n")

    type_in(*LEAST[:-1], f"@{tmp_path / 'url'}", environment=fake.environment)
    type_in("ping", f"@{tmp_path / 'url'}", environment=fake.environment)

    assert [call.body["callbackUrl"] for call in fake.calls] == ["https://hooks.example.com/avatar?code=canary"] * 2


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "arguments",
    [
        LEAST,
        (*LEAST, "--wait"),
        ("show", ID),
        ("show", "operation-1"),
        ("list",),
        ("watch", ID),
        ("redeliver", ID),
        ("status",),
        ("doctor",),
        ("secret", "https://hooks.example.com/avatar?code=canary"),
        ("ping", "https://hooks.example.com/avatar?code=canary"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_no_command_shows_the_query_of_a_callback_url(
    fake: FakeBridge, arguments: tuple[str, ...], as_json: tuple[str, ...]
) -> None:
    """This holds for JSON as well, since build logs keep output. The client's metadata is unchanged."""
    url, metadata = "https://hooks.example.com/avatar?code=canary", {"callbackUrl": "https://a.example/?b=mine"}
    shown = delivered() | {"callbackUrl": url, "metadata": metadata, "attempts": [attempt(500)]}
    status: dict[str, object] = {"lastSweepAt": None, "oldestOverdueAt": None, "registrations": {}, "sources": []}
    fake.script("POST registrations", (201, {**shown, "signingSecret": "whsec_c2VjcmV0"}))
    fake.script("GET registrations", (200, {"value": [shown], "nextLink": None}))
    fake.script(f"GET registrations/{ID}", (200, shown))
    fake.script(f"POST registrations/{ID}/redeliver", (202, shown))
    fake.script("GET operations/operation-1", (200, {**shown["operation"], "registrations": [shown]}))
    fake.script("GET status", (200, status))
    fake.script("GET signing-secret", (200, {"signingSecret": "whsec_c2VjcmV0"}))
    fake.script("POST callbacks/ping", (200, {"message": {}, **attempt(204)}))

    output = type_in(*arguments, *as_json, environment=fake.environment)

    assert output.exit in (0, 1), output.err
    assert "canary" not in output.out + output.err
    assert "canary" not in "".join(call.path for call in fake.calls)
    if arguments[0] in ("show", "list", "register") and as_json:
        assert "https://hooks.example.com/avatar?…" in output.out
    if arguments[0] == "show" and as_json:
        assert "https://a.example/?b=mine" in output.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--header", "Authorization: Bearer 1234"), "--header Authorization would show its value"),
        (("--header", "1234"), "--header has a line that is not a header"),
        (("--header-env", "Authorization: NO_SUCH"), "the environment has no NO_SUCH"),
        (("--headers-file", "/no/such/file"), "/no/such/file cannot be read: No such file"),
        (("--metadata", "1234"), "--metadata is not a JSON object"),
        (("--", "echo"), "add --wait before the --"),
        (("--wait", "--timeout", "soon"), "'soon' is not a duration"),
    ],
)
def test_invalid_arguments_are_reported_before_any_request(
    fake: FakeBridge, arguments: tuple[str, ...], words: str
) -> None:
    """One line, without the value: a value can be a secret."""
    output = type_in(*LEAST, *arguments, environment=fake.environment)

    assert (output.exit, fake.calls, len(output.err.splitlines())) == (2, [], 1)
    assert words in output.err
    assert "1234" not in output.err


def test_the_secret_is_shown_only_on_request(fake: FakeBridge) -> None:
    """Logs of other scripts stay free of the secret."""
    fake.script("POST registrations", (201, CREATED))

    quiet = [type_in(*LEAST, *more, environment=fake.environment) for more in ((), ("--json",))]
    asked = type_in(*LEAST, "--show-secret", environment=fake.environment)
    asked_json = type_in(*LEAST, "--show-secret", "--json", environment=fake.environment)

    assert all("whsec_" not in each.out + each.err for each in quiet)
    assert asked.err == "whsec_c2VjcmV0\n"
    assert asked_json.json["signingSecret"] == "whsec_c2VjcmV0"


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (delivered(), 7),
        (delivered(status="Failed"), 1),
        (registration(state="dead", reason="exhausted", attempts=[attempt(500)]), 1),
        (registration(state="canceled"), 1),
        (registration(state="skipped", operation={"status": "Succeeded"}), 7),
    ],
)
def test_the_command_after_the_wait_runs_only_on_success(
    fake: FakeBridge, tmp_path: Path, ended: dict[str, object], code: int
) -> None:
    """The follow-up command gets the result, and its exit code becomes the exit code."""
    fake.script("POST registrations", (201, CREATED))
    fake.script(f"GET registrations/{ID}", (200, registration()), (200, ended))
    script = f"echo $BRIDGE_OPERATION_ID $BRIDGE_OPERATION_STATUS > {tmp_path}/ran; exit 7"

    output = type_in(*LEAST, "--wait", "--", "sh", "-c", script, environment={**fake.environment, "PATH": "/bin"})

    assert output.exit == code
    ran = tmp_path / "ran"
    assert (ran.read_text() if ran.exists() else "") == ("operation-1 Succeeded\n" if code == 7 else "")


def test_a_missing_command_is_reported(fake: FakeBridge) -> None:
    """The error appears after the wait, and the registration is unaffected."""
    fake.script("POST registrations", (201, CREATED))
    fake.script(f"GET registrations/{ID}", (200, delivered()))

    output = type_in(*LEAST, "--wait", "--", "/no/such/command", environment=fake.environment)

    assert (output.exit, output.err) == (2, "/no/such/command cannot be run: No such file or directory\n")


@pytest.mark.parametrize("name", ["../status", "default~x", "a b", "default~operation-1~0123456789abcdeg"])
def test_an_invalid_id_never_becomes_a_path(fake: FakeBridge, name: str) -> None:
    """Applies to every command."""
    for command in ("show", "message", "watch", "cancel", "erase", "redeliver"):
        output = type_in(command, name, environment=fake.environment)

        assert (output.exit, fake.calls) == (2, [])
        assert "is not a registration's id" in output.err


def test_show_of_an_operation_names_its_registrations(fake: FakeBridge) -> None:
    """Including the reason for giving the operation up."""
    known, other = registration(), registration(OTHER)
    operation = {**known["operation"], "status": "Expired", "reason": "notFound", "registrations": [known, other]}
    fake.script("GET operations/operation-1", (200, operation))

    output = type_in("show", "operation-1", "--source", "voices", environment=fake.environment)

    assert output.exit == 0
    assert fake.calls[0].path == "operations/operation-1?source=voices"
    assert ID in output.out
    assert OTHER in output.out
    assert "for 10 minutes Speech knew no such operation" in output.out


def test_show_of_an_operation_with_one_registration_has_its_attempts_and_advice(fake: FakeBridge) -> None:
    """In JSON the operation stays what it is: a program expects one shape."""
    failing = registration(state="dead", reason="exhausted", attempts=[attempt(401)])
    operation = {**failing["operation"], "registrations": [failing]}
    fake.script("GET operations/operation-1", (200, operation))
    fake.script(f"GET registrations/{ID}", (200, failing))

    output = type_in("show", "operation-1", environment=fake.environment)
    as_json = type_in("show", "operation-1", "--json", environment=fake.environment)

    assert output.out.splitlines()[0] == ID
    assert "1  2026-11-23T12:01:00.000Z  HTTP 401" in output.out
    assert "register with the required header" in output.out
    assert as_json.json == operation


def test_show_collapses_equal_attempts_and_writes_json_answers_over_several_lines(fake: FakeBridge) -> None:
    answer = '{"error": {"code": 401, "message": "no key"}}'
    attempts = [
        {**attempt(error="connect"), "number": 1},
        *({**attempt(401), "number": number, "at": f"2026-11-23T12:0{number}:00.000Z", "body": answer,
           "durationMs": number} for number in range(2, 9)),
        {**attempt(503), "number": 9, "at": "2026-11-23T12:09:00.000Z", "body": "upstream <b>down</b>"},
    ]  # fmt: skip
    fake.script(f"GET registrations/{ID}", (200, registration(state="dead", reason="exhausted", attempts=attempts)))

    output = type_in("show", ID, environment=fake.environment)

    lines = [line.split("attempts")[-1].removeprefix("  ").lstrip() for line in output.out.splitlines()]
    first = lines.index("1  2026-11-23T12:01:00.000Z  connect from 203.0.113.7 in 12 ms")
    assert lines[first + 1 : first + 10] == [
        "2 to 8  2026-11-23T12:02:00.000Z to 2026-11-23T12:08:00.000Z  HTTP 401, 7 times",
        "{",
        '"error": {',
        '"code": 401,',
        '"message": "no key"',
        "}",
        "}",
        "9  2026-11-23T12:09:00.000Z  HTTP 503 from 203.0.113.7 in 12 ms",
        "upstream <b>down</b>",
    ]
    indents = [len(line) - len(line.lstrip()) for line in output.out.splitlines() if '"' in line]
    assert indents == [indents[0], indents[0] + 2, indents[0] + 2]


def test_show_cuts_a_long_json_answer(fake: FakeBridge) -> None:
    made = {**attempt(500), "body": json.dumps(list(range(100)))}
    fake.script(f"GET registrations/{ID}", (200, registration(state="dead", reason="exhausted", attempts=[made])))

    output = type_in("show", ID, environment=fake.environment)

    assert "18," in output.out
    assert "19," not in output.out
    assert "…" in output.out


@pytest.mark.parametrize(("polls", "last", "words"), [
    (1, None, "polled once, next at"),
    (0, None, "not polled yet"),
    (2, "2026-11-23T12:00:00.000Z", "polled 2 times, last at 2026-11-23T12:00:00.000Z"),
])  # fmt: skip
def test_a_registration_after_a_cancellation_shows_no_missing_time(
    fake: FakeBridge, polls: int, last: str | None, words: str
) -> None:
    """The operation was polled for the canceled registration, and not yet for the new one."""
    created = registration(operation={"polls": polls, "lastPolledAt": last})
    fake.script("POST registrations", (201, {**created, "signingSecret": "whsec_c2VjcmV0"}))

    output = type_in(*LEAST, environment=fake.environment)

    assert words in output.out
    assert "None" not in output.out


def test_list_follows_all_pages(fake: FakeBridge) -> None:
    """The pages follow `nextLink` at the configured address, up to the limit or, with `--all`, to the last page."""
    link = "http://inside.example:8080/api/registrations?state=dead&limit=100&cursor=c%7E1"
    pages = [
        (200, {"value": [registration(each)], "nextLink": next_link}) for each, next_link in ((ID, link), (OTHER, None))
    ]
    fake.script("GET registrations", *pages)
    everything = type_in("list", "--state", "dead", "--all", environment=fake.environment)
    fake.script("GET registrations", *pages)
    first = type_in("list", "--limit", "1", "--json", environment=fake.environment)

    assert [line.split("\t")[0] for line in everything.out.splitlines()] == [ID, OTHER]
    assert [call.path for call in fake.calls] == [
        "registrations?limit=100&state=dead",
        "registrations?limit=100&state=dead&cursor=c~1",
        "registrations?limit=1",
    ]
    assert (len(first.json["value"]), first.json["nextLink"]) == (1, link)


def test_list_is_a_table_on_a_terminal(fake: FakeBridge) -> None:
    """The table has column names, and a line about further registrations."""
    fake.script("GET registrations", (200, {"value": [registration()], "nextLink": "?cursor=1"}))

    output = type_in("list", environment=fake.environment, out=Terminal())

    assert ID in output.out
    assert "there are more: --all shows them" in output.out


@pytest.mark.parametrize("columns", ["20", "80", "300"])
def test_list_on_a_terminal_of_any_width_breaks_no_id_and_no_time(
    fake: FakeBridge, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    name = "default~0f9c4e3a-6f0b-4d3e-9a67-0b8a5f6c7d8e~0123456789abcdef"
    fake.script("GET registrations", (200, {"value": [registration(name)], "nextLink": None}))

    output = type_in("list", environment=fake.environment, out=Terminal(), clock=lambda: NOON + timedelta(minutes=61))

    lines = [line.strip() for line in output.out.splitlines()]
    assert [line for line in lines if line.split("  ")[0] == name]
    assert columns == "20" or [line for line in lines if "61 min ago" in line]


def test_list_reads_as_many_pages_as_its_limit_needs(fake: FakeBridge) -> None:
    entries = [registration(f"default~operation-{number}~0123456789abcdef") for number in range(100)]
    link = "http://inside.example:8080/api/registrations?limit=100&cursor=c1"
    fake.script(
        "GET registrations",
        (200, {"value": entries, "nextLink": link}),
        (200, {"value": entries[:50], "nextLink": link}),
    )

    output = type_in("list", "--limit", "150", environment=fake.environment)

    assert len(output.out.splitlines()) == 150
    assert [call.path for call in fake.calls] == ["registrations?limit=100", "registrations?limit=50&cursor=c1"]


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (("--state", "dead", "--state", "Delivered"), "state=dead%2Cdelivered"),
        (("--state", "dead, delivered,dead"), "state=dead%2Cdelivered"),
        (("--message-id", "msg_4079"), "messageId=msg_4079"),
        (("--host", "hooks.example.com:8443"), "host=hooks.example.com%3A8443"),
        (("--since", "2h", "--until", "30m"), "since=2026-11-23T10%3A00%3A00.000Z&until=2026-11-23T11%3A30%3A00.000Z"),
        (("--outcome", "4XX", "--group", "vp9-10min"), "outcome=4xx&group=vp9-10min"),
        (("--outcome", "Timeout"), "outcome=timeout"),
    ],
)
def test_list_hands_its_conditions_on(fake: FakeBridge, arguments: tuple[str, ...], parameters: str) -> None:
    fake.script("GET registrations", (200, {"value": [], "nextLink": None}))

    output = type_in("list", *arguments, environment=fake.environment, clock=lambda: NOON)

    assert output.exit == 0, output.err
    assert [call.path for call in fake.calls] == [f"registrations?limit=50&{parameters}"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--state", "dead,gone"), "'gone' is not a state: waiting, pending, delivered"),
        (("--outcome", "teapot"), "write a status (401), a class (4xx), or refused-by-rules, dns"),
        (("--outcome", "4567"), "'4567' is not an outcome"),
        (("--since", "yesterday"), "'yesterday' is not a time with a zone"),
        (("--until", "2026-11-23"), "'2026-11-23' is not a time with a zone"),
        (("--since", "999999d"), "'999999d' is too long ago"),
        (("--until", "9999-12-31T23:59:59-10:00"), "no time of a calendar"),
        (("--message-id", "4079"), "the header webhook-id of a callback"),
        (("--group", "a b"), "'a b' is not a group"),
    ],
)
def test_an_invalid_condition_is_reported_before_any_request(
    fake: FakeBridge, arguments: tuple[str, str], words: str
) -> None:
    output = type_in("list", *arguments, environment=fake.environment)

    assert (output.exit, fake.calls) == (2, [])
    assert words in output.err


def test_list_has_the_last_outcome_and_the_next_attempt(fake: FakeBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of a line, so that the fields before keep their places."""
    monkeypatch.setenv("COLUMNS", "250")
    last = {"number": 3, "of": 10, "status": 401, "error": None, "at": "2026-11-23T12:01:00.000Z"}
    entries = [
        registration(ID, state="pending", lastAttempt=last, nextAttemptAt="2026-11-23T12:04:00.000Z"),
        registration(OTHER, state="dead", lastAttempt={**last, "status": None, "error": "timeout", "number": 10}),
        registration(),
    ]
    fake.script("GET registrations", (200, {"value": entries, "nextLink": None}))

    in_pipe = type_in("list", environment=fake.environment)
    on_terminal = type_in("list", environment=fake.environment, out=Terminal(), clock=lambda: NOON)

    assert [line.split("\t")[5:] for line in in_pipe.out.splitlines()] == [
        ["HTTP 401, 3 of 10", "2026-11-23T12:04:00.000Z"],
        ["timeout, 10 of 10", ""],
        ["", ""],
    ]
    assert "HTTP 401, 3 of 10 in 4 min" in " ".join(on_terminal.plain.split())


@pytest.mark.parametrize("state", ["dead", "DEAD", "Dead"])
def test_choices_are_accepted_in_any_letter_case(fake: FakeBridge, state: str) -> None:
    fake.script("GET registrations", (200, {"value": [], "nextLink": None}))
    fake.script("POST registrations", (201, CREATED))

    listed = type_in("list", "--state", state, environment=fake.environment)
    registered = type_in(
        *LEAST, "--event", "succeeded", "--event", "FAILED", "--format", "CloudEvents", environment=fake.environment
    )

    assert (listed.exit, registered.exit) == (0, 0)
    assert fake.calls[0].path == "registrations?limit=50&state=dead"
    assert (fake.calls[1].body["events"], fake.calls[1].body["format"]) == (["Succeeded", "Failed"], "cloudevents")


def test_a_choice_that_there_is_not_names_those_that_there_are(fake: FakeBridge) -> None:
    output = type_in("list", "--state", "gone", environment=fake.environment)

    assert (output.exit, fake.calls) == (2, [])
    assert "waiting" in output.err


def test_register_hands_a_group_on(fake: FakeBridge) -> None:
    fake.script("POST registrations", (201, CREATED))

    type_in(*LEAST, "--group", "vp9-10min", environment=fake.environment)

    assert fake.calls[0].body["group"] == "vp9-10min"


def test_cancel_accepts_several_ids(fake: FakeBridge) -> None:
    """One call per registration."""
    for each in (ID, OTHER):
        fake.script(f"DELETE registrations/{each}", (204, ""))

    output = type_in("cancel", ID, OTHER, environment=fake.environment)

    assert output.exit == 0
    assert [(call.method, call.path) for call in fake.calls] == [
        ("DELETE", f"registrations/{ID}"),
        ("DELETE", f"registrations/{OTHER}"),
    ]


def test_erase_removes_registrations_for_good(fake: FakeBridge) -> None:
    fake.script(f"DELETE registrations/{ID}", (204, ""))
    fake.script(f"DELETE registrations/{OTHER}", (409, problem("NotEnded", "It has not ended; cancel it first.")))

    output = type_in("erase", ID, OTHER, environment=fake.environment)

    assert [call.path for call in fake.calls] == [f"registrations/{each}?purge=true" for each in (ID, OTHER)]
    assert (output.exit, output.out) == (3, f"{ID}  removed\n")
    assert output.err == "NotEnded: It has not ended; cancel it first.\n"


@pytest.mark.parametrize(
    ("status", "error", "code"), [(204, None, 0), (500, None, 1), (302, None, 1), (None, "tls", 1)]
)
def test_the_exit_code_of_ping_depends_on_the_answer(
    fake: FakeBridge, status: int | None, error: str | None, code: int
) -> None:
    """Only a 2xx gives exit code 0. Other results have advice below."""
    came = {**attempt(status, error), "message": {"id": "msg_ping_1", "type": "bridge.ping"}}
    fake.script("POST callbacks/ping", (200, came))

    output = type_in("ping", "https://hooks.example.com/", environment=fake.environment)

    assert output.exit == code
    assert (len(output.out.splitlines()) == 1) is (code == 0)
    assert json.dumps(fake.calls[0].body) == '{"callbackUrl": "https://hooks.example.com/"}'
