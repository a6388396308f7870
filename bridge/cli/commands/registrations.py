"""The commands about registrations: register, show, message, list, watch, cancel, erase, redeliver."""

import subprocess
from collections.abc import Sequence
from typing import Annotated

import typer

from bridge.cli import reading, showing
from bridge.cli.client import Api, Json, read_message
from bridge.cli.context import CliContext
from bridge.cli.errors import Exit, UsageError
from bridge.cli.following import Follow
from bridge.cli.output import Output, Tone
from bridge.cli.shared import AsJson, Group, Host, MessageFormat, Outcome, Since, Until, begin, conditions
from bridge.cli.showing import diagnose
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import State

Interval = Annotated[str, typer.Option(help="The time between two checks, like 2s.")]
Timeout = Annotated[str | None, typer.Option(help="Stop following after this time, like 30m, with exit code 4.")]


def register(
    context: typer.Context,
    callback_url: Annotated[str, typer.Option(help="The callback URL. @FILE reads a secret one from a file.")],
    operation_id: Annotated[str | None, typer.Option(help="The operation's id.")] = None,
    operation_location: Annotated[str | None, typer.Option(help="Or the whole Operation-Location.")] = None,
    source: Annotated[str | None, typer.Option(help="The name of the Speech endpoint. Default: `default`.")] = None,
    event: Annotated[
        list[FinalStatus] | None,
        typer.Option(case_sensitive=False, help="Call back for this final status. Can be repeated. Default: all."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="A label of operations of similar length, which the bridge learns separately.")
    ] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object, or @FILE with one.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="A header of the callback, 'Name: value'.")] = None,
    header_env: Annotated[
        list[str] | None, typer.Option(help="A header with a secret value, 'Name: VARIABLE'.")
    ] = None,
    headers_file: Annotated[str | None, typer.Option(help="A file of header lines. - is standard input.")] = None,
    message_format: MessageFormat = None,
    show_secret: Annotated[bool, typer.Option("--show-secret", help="Show the signing secret, too.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end. The outcome decides the exit code.")] = False,
    interval: Interval = "2s",
    timeout: Timeout = None,
    command: Annotated[list[str] | None, typer.Argument(help="With --wait: run this after a success.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a callback for an operation. The same registration again changes nothing."""
    if command and not wait:
        raise UsageError("a command runs after a success: add --wait before the --")
    found, output, api = begin(context, as_json=as_json)
    follow = _following(api, found, interval, timeout)
    own = reading.own_headers(header or (), header_env or (), headers_file, found.environment)
    body: Json = {
        "operationId": operation_id,
        "operationLocation": operation_location,
        "callbackUrl": reading.callback_url(callback_url),
        "source": source,
        "events": event or None,
        "metadata": None if metadata is None else _metadata(metadata),
        "headers": own,
        "format": message_format,
        "group": group,
    }
    created = api.post("registrations", body)
    secret = created.pop("signingSecret")
    if show_secret and output.as_json and not wait:
        created["signingSecret"] = secret
    elif show_secret:
        output.note(secret)
    if not wait:
        _show(created, output)
        return
    [ended] = follow.until_ended([created["id"]], output)
    raise typer.Exit(_outcome([ended]) or _run(command or (), ended, found))


def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="The id of a registration or of an operation.")],
    source: Annotated[str | None, typer.Option(help="The source of an operation. Default: `default`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a registration or an operation, with problems and advice.

    An operation with one registration is shown like that registration, with all attempts. JSON has the
    named registration, or the named operation with its registrations.
    """
    _, output, api = begin(context, as_json=as_json)
    if not reading.is_operation_id(name):
        _show(api.get(f"registrations/{reading.registration_id(name)}"), output)
        return
    operation = api.get(f"operations/{name}", source=source)
    notified = operation["registrations"]
    if output.as_json:
        output.json(operation)
    elif len(notified) == 1:
        _show(api.get(f"registrations/{notified[0]['id']}"), output)
    else:
        output.say(operation["id"])
        output.lines(showing.operation(operation, output.times(with_exact=True)))


def message(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A registration.")],
    headers: Annotated[bool, typer.Option("--headers", help="Write the headers instead, one per line.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the message of a registration, as it was or will be sent.

    In a pipe the body comes exactly, without a line break at its end. Timestamp and signatures are made now. Own
    headers are not shown. With --json, headers and body come in the form that `verify` reads.
    """
    _, output, api = begin(context, as_json=as_json)
    sent = read_message(api, reading.registration_id(name))
    if output.as_json:
        output.json(sent.shown)
    elif headers:
        for header, value in sent.headers.items():
            output.say(f"{header}: {value}")
    else:
        output.exactly(sent.text)


def list_registrations(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar=f"[{'|'.join(State)}]",
            help="Only these states. Can be repeated, or have several with commas.",
            autocompletion=lambda: list(State),
        ),
    ] = None,
    operation_id: Annotated[str | None, typer.Option(help="Only one operation.")] = None,
    message_id: Annotated[str | None, typer.Option(help="Only the one with this webhook-id.")] = None,
    host: Host = None,
    since: Since = None,
    until: Until = None,
    outcome: Outcome = None,
    group: Group = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="Read all pages.")] = False,
    as_json: AsJson = False,
) -> None:
    """List registrations, newest first. In a pipe one line each, with tabs between the fields."""
    found, output, api = begin(context, as_json=as_json)
    wanted = {
        "state": reading.states(state or ()),
        "operationId": operation_id,
        "messageId": None if message_id is None else reading.message_id(message_id),
        **conditions(found, host=host, since=since, until=until, outcome=outcome, group=group),
    }
    pages = api.pages(limit=None if everything else limit, **wanted)
    if not output.as_json and not output.is_terminal:
        for page in pages:  # a reader like `head` can end before the last page is read
            _table(page["value"], output)
        return
    entries: list[Json] = []
    more: str | None = None
    for page in pages:
        entries += page["value"]
        more = page["nextLink"]
    if output.as_json:
        output.json({"value": entries, "nextLink": more})
        return
    _table(entries, output)
    if more:
        output.say("there are more: --all shows them", Tone.QUIET)


def _table(entries: Sequence[Json], output: Output) -> None:
    times = output.times()
    rows = [showing.list_row(each, times) for each in entries]
    output.table(showing.LIST_COLUMNS, rows, [showing.list_tone(each) for each in entries])


def watch(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Registrations.")],
    interval: Interval = "2s",
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Follow registrations to their ends. Exit code 0 if all are delivered and Succeeded, else 1."""
    found, output, api = begin(context, as_json=as_json)
    follow = _following(api, found, interval, timeout)
    wanted = list(dict.fromkeys(reading.registration_id(each) for each in ids))
    ended = follow.until_ended(wanted, output)
    if not output.as_json:
        for shown in ended:
            output.lines(showing.findings(diagnose(shown)))
    raise typer.Exit(_outcome(ended))


def cancel(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Registrations.")],
    as_json: AsJson = False,
) -> None:
    """Cancel registrations: no further attempt begins. Ended registrations stay unchanged."""
    _, output, api = begin(context, as_json=as_json)
    for each in [reading.registration_id(each) for each in ids]:
        api.delete(f"registrations/{each}")
        if not output.as_json:
            output.say(f"{each}  no further attempt")
    if output.as_json:
        output.json({"canceled": ids})


def erase(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Registrations that have ended.")],
    as_json: AsJson = False,
) -> None:
    """Remove ended registrations with their attempts and messages, now.

    This cannot be undone. A registration that waits or is pending stays, with exit code 3: cancel it first.
    """
    _, output, api = begin(context, as_json=as_json)
    for each in [reading.registration_id(each) for each in ids]:
        api.delete(f"registrations/{each}", purge="true")
        if not output.as_json:
            output.say(f"{each}  removed")
    if output.as_json:
        output.json({"erased": ids})


def redeliver(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Registrations.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="All that wait for their next attempt.")] = False,
    dead: Annotated[bool, typer.Option("--dead", help="All dead ones. Can be combined with --pending.")] = False,
    host: Host = None,
    since: Since = None,
    until: Until = None,
    outcome: Outcome = None,
    group: Group = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many. Default: all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count by host and outcome, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try deliveries again now: by their ids, or all that match.

    A pending registration gets the next attempt of its run now, and its schedule goes on after that. Any other one
    with a message gets a new run of attempts.
    """
    found, output, api = begin(context, as_json=as_json)
    wanted = conditions(found, host=host, since=since, until=until, outcome=outcome, group=group)
    is_narrowed = dry_run or limit is not None or any(each is not None for each in wanted.values())
    if ids and (pending or dead or is_narrowed):
        raise UsageError("name registrations, or use --pending, --dead and their conditions, not both")
    if not ids and not pending and not dead:
        raise UsageError("name registrations, or use --pending or --dead")
    states = [state for state, is_wanted in ((State.PENDING, pending), (State.DEAD, dead)) if is_wanted]
    if ids:
        _redeliver_each(api, [reading.registration_id(each) for each in ids], output)
    elif dry_run:
        size = _COUNTED if limit is None else min(_COUNTED, limit)
        _preview(api.post("redeliver", {"states": states, **wanted, "limit": size, "dryRun": True}), output)
    else:
        _redeliver_many(api, {"states": states, **wanted}, limit, output)


def _redeliver_each(api: Api, ids: Sequence[str], output: Output) -> None:
    """Redeliver one by one. During an attempt nothing changes, so JSON lists such registrations separately."""
    begun: list[str] = []
    unchanged: list[str] = []
    for each in ids:
        was = api.get(f"registrations/{each}")["state"]
        after = api.post(f"registrations/{each}/redeliver")
        is_unchanged = was == State.PENDING and showing.is_in_flight(after)
        (unchanged if is_unchanged else begun).append(each)
        if output.as_json:
            continue
        if is_unchanged:
            output.say(f"{each}  an attempt is in flight, so nothing has changed", Tone.WARN)
        elif was == State.PENDING:
            output.say(f"{each}  the next attempt is made now")
        else:
            output.say(f"{each}  a new run of attempts has begun")
    if output.as_json:
        output.json({"started": len(begun), "registrations": begun, "unchanged": unchanged, "more": False})


#: The most redeliveries of one call, and the most that a dry run counts: the largest limit of the API.
_AT_ONCE, _COUNTED = 100, 500


def _redeliver_many(api: Api, order: Json, limit: int | None, output: Output) -> None:
    """Redeliver all that match, up to the limit. Each call reads a bounded part of the list and returns a cursor."""
    ids: list[str] = []
    cursor, more, size = None, True, min(_AT_ONCE, limit or _AT_ONCE)
    while more and size:
        started = api.post("redeliver", {**order, "limit": size, "cursor": cursor})
        ids += started["registrations"]
        cursor, more = started["cursor"], started["more"] and started["cursor"] is not None
        size = _AT_ONCE if limit is None else min(_AT_ONCE, limit - len(ids))
        if not output.as_json:
            for each in started["registrations"]:
                output.say(f"{each}  an attempt follows within a minute")
    if output.as_json:
        output.json({"started": len(ids), "registrations": ids, "more": more})
    elif more:
        output.say(f"{len(ids)} so far, and there are more than --limit")
    elif not ids:
        output.say("no registration matches")


def _preview(counted: Json, output: Output) -> None:
    """Show how many registrations would be delivered again."""
    if output.as_json:
        output.json(counted)
        return
    rows = [(each["host"], each["outcome"] or "no attempt yet", str(each["count"])) for each in counted["byHost"]]
    output.table(("host", "outcome", "registrations"), rows)
    if output.is_terminal:
        more = " or more" if counted["more"] else ""
        output.say(f"{counted['total']}{more} match; nothing has changed", Tone.QUIET)


def _following(api: Api, found: CliContext, interval: str, timeout: str | None) -> Follow:
    """Parse the options of following before any registration. Raises UsageError."""
    until = None if timeout is None else reading.duration(timeout)
    return Follow(api=api, around=found, interval=reading.duration(interval), timeout=until)


def _show(shown: Json, output: Output) -> None:
    """Show a registration."""
    if output.as_json:
        output.json(shown)
        return
    output.say(shown["id"])
    output.lines(showing.registration(shown, output.times(with_exact=True)))


def _metadata(text: str) -> dict[str, object]:
    return reading.json_object(reading.read_text(text[1:]) if text.startswith("@") else text, "--metadata")


def _outcome(ended: Sequence[Json]) -> Exit:
    return Exit.OK if all(showing.went_well(each) for each in ended) else Exit.FAILED


def _run(command: Sequence[str], ended: Json, found: CliContext) -> int:
    """Run the command after a success. Returns its exit code."""
    if not command:
        return Exit.OK
    operation = showing.operation_or_job(ended)
    told = {
        "BRIDGE_REGISTRATION_ID": ended["id"],
        "BRIDGE_OPERATION_ID": operation["id"],
        "BRIDGE_OPERATION_STATUS": operation["status"],
    }
    try:
        return subprocess.run(command, env={**found.environment, **told}, check=False).returncode
    except (OSError, ValueError) as error:  # ValueError: an argument or a variable with a NUL
        why = getattr(error, "strerror", None) or "its arguments or variables contain a NUL"
        raise UsageError(f"{command[0]} cannot be run: {why}") from error
