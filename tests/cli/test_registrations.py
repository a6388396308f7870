"""The commands about registrations: what they send, what they show, and how they end."""

import json
from pathlib import Path

import pytest

from tests.support.cli import Terminal, type_in
from tests.support.played_bridge import PlayedBridge, attempt, delivered, problem, registration
from tests.support.world import NOON

ID, OTHER = "default~operation-1~0123456789abcdef", "default~operation-2~fedcba9876543210"
LEAST = ("register", "--operation-id", "operation-1", "--callback-url", "https://hooks.example.com/avatar")
CREATED = {**registration(), "signingSecret": "whsec_c2VjcmV0"}


def test_register_sends_what_was_typed_and_nothing_else(played: PlayedBridge, tmp_path: Path) -> None:
    """Fields that were not given are the bridge's to choose."""
    played.tell("POST registrations", (201, CREATED))
    (tmp_path / "metadata.json").write_text('{"video": "intro"}')

    type_in(*LEAST, environment=played.environment)
    more = ("--event", "Failed", "--event", "Expired", "--metadata", f"@{tmp_path / 'metadata.json'}")
    type_in(*LEAST, *more, "--source", "voices", "--format", "cloudevents", environment=played.environment)

    least = {"operationId": "operation-1", "callbackUrl": "https://hooks.example.com/avatar"}
    assert [call.body for call in played.calls] == [
        least,
        {
            **least,
            "source": "voices",
            "events": ["Failed", "Expired"],
            "metadata": {"video": "intro"},
            "format": "cloudevents",
        },
    ]


def test_headers_come_from_where_nobody_looks(played: PlayedBridge, tmp_path: Path) -> None:
    """The environment, a file, standard input; what is no secret may be typed."""
    played.tell("POST registrations", (201, CREATED))
    (tmp_path / "headers").write_text("X-Api-Key: of the file\n\n")
    environment = {**played.environment, "RECEIVER": "Bearer of the environment"}
    given = ("--header", "X-Tenant: blue", "--header-env", "Authorization: RECEIVER")

    type_in(*LEAST, *given, "--headers-file", str(tmp_path / "headers"), environment=environment)
    type_in(*LEAST, "--headers-file", "-", environment=environment, stdin="Cookie: of the input")

    assert [call.body["headers"] for call in played.calls] == [
        {"X-Tenant": "blue", "Authorization": "Bearer of the environment", "X-Api-Key": "of the file"},
        {"Cookie": "of the input"},
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--header", "Authorization: Bearer 1234"), "--header Authorization would show its value"),
        (("--header", "1234"), "--header has a line that is no header"),
        (("--header-env", "Authorization: NO_SUCH"), "the environment has no NO_SUCH"),
        (("--headers-file", "/no/such/file"), "/no/such/file cannot be read: No such file"),
        (("--metadata", "1234"), "--metadata is not a JSON object"),
        (("--", "echo"), "say --wait before the --"),
        (("--wait", "--timeout", "soon"), "'soon' is no duration"),
    ],
)
def test_what_cannot_be_followed_is_said_before_anything_is_sent(
    played: PlayedBridge, arguments: tuple[str, ...], words: str
) -> None:
    """In one line, without the value: it can be a secret."""
    said = type_in(*LEAST, *arguments, environment=played.environment)

    assert (said.exit, played.calls, len(said.err.splitlines())) == (2, [], 1)
    assert words in said.err
    assert "1234" not in said.err


def test_the_secret_is_shown_to_whoever_asks_for_it(played: PlayedBridge) -> None:
    """And in no log of a script that did not."""
    played.tell("POST registrations", (201, CREATED))

    quiet = [type_in(*LEAST, *more, environment=played.environment) for more in ((), ("--json",))]
    asked = type_in(*LEAST, "--show-secret", environment=played.environment)
    asked_json = type_in(*LEAST, "--show-secret", "--json", environment=played.environment)

    assert all("whsec_" not in each.out + each.err for each in quiet)
    assert asked.err == "whsec_c2VjcmV0\n"
    assert asked_json.json["signingSecret"] == "whsec_c2VjcmV0"


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (delivered(), 7),
        (delivered(status="Failed"), 1),
        (registration(state="dead", reason="exhausted", attempts=[attempt(500)]), 1),
        (registration(state="cancelled"), 1),
        (registration(state="unwanted", operation={"status": "Succeeded"}), 7),
    ],
)
def test_what_waits_is_run_only_if_it_went_well(
    played: PlayedBridge, tmp_path: Path, ended: dict[str, object], code: int
) -> None:
    """It is told what ended, and its exit code is the command's."""
    played.tell("POST registrations", (201, CREATED))
    played.tell(f"GET registrations/{ID}", (200, registration()), (200, ended))
    script = f"echo $BRIDGE_OPERATION_ID $BRIDGE_OPERATION_STATUS > {tmp_path}/ran; exit 7"

    said = type_in(*LEAST, "--wait", "--", "sh", "-c", script, environment={**played.environment, "PATH": "/bin"})

    assert said.exit == code
    ran = tmp_path / "ran"
    assert (ran.read_text() if ran.exists() else "") == ("operation-1 Succeeded\n" if code == 7 else "")


def test_a_command_that_is_not_there_is_said(played: PlayedBridge) -> None:
    """After the wait; the registration is what it is."""
    played.tell("POST registrations", (201, CREATED))
    played.tell(f"GET registrations/{ID}", (200, delivered()))

    said = type_in(*LEAST, "--wait", "--", "/no/such/command", environment=played.environment)

    assert (said.exit, said.err) == (2, "/no/such/command cannot be run: No such file or directory\n")


@pytest.mark.parametrize("name", ["../status", "default~x", "a b", "default~operation-1~0123456789abcdeg"])
def test_an_id_that_is_none_never_becomes_a_path(played: PlayedBridge, name: str) -> None:
    """Whichever command it is typed for."""
    for command in ("show", "watch", "cancel", "redeliver"):
        said = type_in(command, name, environment=played.environment)

        assert (said.exit, played.calls) == (2, [])
        assert "is no registration's id" in said.err


def test_show_of_an_operation_names_its_registrations(played: PlayedBridge) -> None:
    """And why the bridge gave it up."""
    known = registration()
    operation = {**known["operation"], "status": "Expired", "reason": "notFound", "registrations": [known]}
    played.tell("GET operations/operation-1", (200, operation))

    said = type_in("show", "operation-1", "--source", "voices", environment=played.environment)

    assert said.exit == 0
    assert played.calls[0].path == "operations/operation-1?source=voices"
    assert ID in said.out
    assert "for 10 minutes Speech knew no such operation" in said.out


def test_list_goes_from_page_to_page(played: PlayedBridge) -> None:
    """By what nextLink asks for, at the address that was set; without `--all` it stops at the first."""
    link = "http://inside.example:8080/api/registrations?state=dead&limit=100&cursor=c%7E1"
    pages = [
        (200, {"value": [registration(each)], "nextLink": next_link}) for each, next_link in ((ID, link), (OTHER, None))
    ]
    played.tell("GET registrations", *pages)
    everything = type_in("list", "--state", "dead", "--all", environment=played.environment)
    played.tell("GET registrations", *pages)
    first = type_in("list", "--limit", "1", "--json", environment=played.environment)

    assert [line.split("\t")[0] for line in everything.out.splitlines()] == [ID, OTHER]
    assert [call.path for call in played.calls] == [
        "registrations?state=dead&limit=100",
        "registrations?state=dead&limit=100&cursor=c~1",
        "registrations?limit=1",
    ]
    assert (len(first.json["value"]), first.json["nextLink"]) == (1, link)


def test_list_is_a_table_on_a_terminal(played: PlayedBridge) -> None:
    """With names above its columns, and what else there is."""
    played.tell("GET registrations", (200, {"value": [registration()], "nextLink": "?cursor=1"}))

    said = type_in("list", environment=played.environment, out=Terminal())

    assert "registration" in said.out
    assert "there are more: --all shows them" in said.out


def test_cancel_takes_many(played: PlayedBridge) -> None:
    """One call each."""
    for each in (ID, OTHER):
        played.tell(f"DELETE registrations/{each}", (204, ""))

    said = type_in("cancel", ID, OTHER, environment=played.environment)

    assert said.exit == 0
    assert [(call.method, call.path) for call in played.calls] == [
        ("DELETE", f"registrations/{ID}"),
        ("DELETE", f"registrations/{OTHER}"),
    ]


def test_redeliver_of_what_is_dead(played: PlayedBridge) -> None:
    """Since a time, or since so long."""
    played.tell("POST redeliver", (202, {"started": 1, "registrations": [ID], "more": True}))

    said = type_in(
        "redeliver", "--dead", "--since", "2h", "--host", "hooks.example.com",
        environment=played.environment, clock=lambda: NOON,
    )  # fmt: skip
    type_in(
        "redeliver", "--dead", "--since", "2026-11-23T09:00:00+01:00", "--limit", "5", environment=played.environment
    )

    assert said.out.splitlines() == [f"{ID}  is delivered again", "there are more: say the same again"]
    assert [call.body for call in played.calls] == [
        {"state": "dead", "since": "2026-11-23T10:00:00.000Z", "host": "hooks.example.com", "limit": 100},
        {"state": "dead", "since": "2026-11-23T08:00:00.000Z", "limit": 5},
    ]


@pytest.mark.parametrize("arguments", [(), (ID, "--dead"), ("--dead",), ("--dead", "--since", "yesterday")])
def test_redeliver_needs_to_know_which(played: PlayedBridge, arguments: tuple[str, ...]) -> None:
    """Ids, or all that died since a time."""
    said = type_in("redeliver", *arguments, environment=played.environment)

    assert (said.exit, played.calls) == (2, [])


def test_redeliver_of_one_that_has_no_message_is_refused(played: PlayedBridge) -> None:
    """In the bridge's words."""
    played.tell(f"POST registrations/{ID}/redeliver", (409, problem("NoMessageYet", "There is no message.")))

    said = type_in("redeliver", ID, environment=played.environment)

    assert (said.exit, said.err) == (3, "NoMessageYet: There is no message.\n")


@pytest.mark.parametrize(
    ("status", "error", "code"), [(204, None, 0), (500, None, 1), (302, None, 1), (None, "tls", 1)]
)
def test_ping_ends_by_what_came_back(played: PlayedBridge, status: int | None, error: str | None, code: int) -> None:
    """0 for a 2xx alone; what to do stands below what did not go well."""
    came = {**attempt(status, error), "message": {"id": "msg_ping_1", "type": "bridge.ping"}}
    played.tell("POST callbacks/ping", (200, came))

    said = type_in("ping", "https://hooks.example.com/", environment=played.environment)

    assert said.exit == code
    assert (len(said.out.splitlines()) == 1) is (code == 0)
    assert json.dumps(played.calls[0].body) == '{"callbackUrl": "https://hooks.example.com/"}'
