"""The local start: the storage emulator, a fake Speech service, a receiver and the function app, until Ctrl-C."""

import contextlib
import fcntl
import queue
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Literal

from local.azurite import Azurite
from local.demo.timeline import Timeline
from local.errors import LocalError
from local.host.microsoft import LOCAL_KEY, MicrosoftHost
from local.host.process import HostProcess
from local.layout import demand_layout
from local.narrator import LogFile, Narrator, Sentence
from local.receiver import Receiver
from local.service import Service
from local.settings import LOCAL_SPEECH_KEY, Settings, app_environment
from local.upstream import Upstream
from local.verifying import Verifier
from local.watch import Room, watch


def start(environ: Mapping[str, str], say: Callable[[str], None], *, host: Literal["local", "microsoft"]) -> None:
    """Run all parts until Ctrl-C, then stop them.

    The app runs in the host of this folder, or in Microsoft's. Raises LocalError if a part cannot start, or ends
    unexpectedly. Storage is restarted instead.
    """
    settings = Settings.read(environ)
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    room = Room(settings.folder, say)
    key = LOCAL_KEY if host == "microsoft" else None
    with stopped_by_signals(), ExitStack() as running:
        running.enter_context(_only_one(settings))
        _refuse_taken_ports(settings, environ)
        environment = _environment(settings, environ)
        log = running.enter_context(_log(settings, environ, say))
        azurite = _start_storage(running, settings, room, say, ended) if _wants_storage(environ) else None
        _start_fakes(running, settings, environment, say, key)
        running.enter_context(_start_host(host, settings, environment, log, ended))
        say(_summary(settings, environ, key=key))
        try:
            watch(azurite, ended, room, say)
        except KeyboardInterrupt:
            say("stopping …")


def _environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    try:
        return app_environment(settings, environ)
    except OSError as error:
        raise _cannot_keep(settings, error) from error


def _cannot_keep(settings: Settings, error: OSError) -> LocalError:
    return LocalError(f"state cannot be kept in {settings.folder}: {error.strerror}. Choose another LOCAL_DIR.")


def _log(settings: Settings, environ: Mapping[str, str], say: Callable[[str], None]) -> LogFile:
    """Open the file of the app's log, with the events as sentences or unchanged."""
    timeline = Timeline(sys.stdout, time.monotonic, environ, stamp=lambda _: time.strftime("%H:%M:%S"))

    def tell(sentence: Sentence) -> None:
        timeline.happens(sentence.name, sentence.text, good=sentence.good, bad=sentence.bad)

    try:
        return LogFile(settings.log, None if settings.log_is_shown else Narrator(tell), say)
    except OSError as error:
        raise _cannot_keep(settings, error) from error


def _wants_storage(environ: Mapping[str, str]) -> bool:
    return not environ.get("AzureWebJobsStorage")


def _start_storage(
    running: ExitStack,
    settings: Settings,
    room: Room,
    say: Callable[[str], None],
    ended: "queue.SimpleQueue[str]",
) -> Azurite:
    """Start Azurite. Its name is put into `ended` when it ends."""
    room.demand()
    try:
        demand_layout(settings.folder)
    except OSError as error:
        raise _cannot_keep(settings, error) from error
    folder = settings.folder / "azurite"
    azurite = Azurite.start(folder, settings.azurite_ports, say, on_end=lambda: ended.put(Azurite.name))
    return running.enter_context(azurite)


def _start_fakes(
    running: ExitStack,
    settings: Settings,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    key: str | None,
) -> None:
    """Start the receiver, and the fake Speech service if the app uses that one."""
    if environment["SPEECH_ENDPOINT"] == settings.upstream_endpoint:
        upstream = Upstream.start(
            key=environment["SPEECH_KEY"],
            port=settings.upstream_port,
            rules=settings.rules,
            hosts=settings.hosts,
            say=say,
        )
        running.enter_context(upstream)
    verdict = Verifier(f"http://127.0.0.1:{settings.port}/api", key).verdict
    receiver = Receiver.start(port=settings.receiver_port, say=say, verdict=verdict, hosts=settings.hosts)
    running.enter_context(receiver)


def _start_host(
    host: Literal["local", "microsoft"],
    settings: Settings,
    environment: Mapping[str, str],
    log: LogFile,
    ended: "queue.SimpleQueue[str]",
) -> Service:
    """Start the app. The name of its host is put into `ended` when the host ends."""
    if host == "local":
        debug = {} if settings.log_is_shown else {"DEBUG_LOGGERS": "bridge"}  # each poll is a debug line
        return HostProcess.start(
            {**environment, **debug},
            app=settings.app,
            port=settings.port,
            on_line=log.take,
            on_end=lambda: ended.put(HostProcess.name),
        )
    return MicrosoftHost.start(
        environment,
        state=settings.folder / "functions-host",
        app=settings.app,
        port=settings.port,
        keys=[LOCAL_KEY],
        on_line=log.take,
        on_end=lambda: ended.put(MicrosoftHost.name),
    )


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP (a closed terminal) like Ctrl-C."""
    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {each: signal.signal(each, signal.default_int_handler) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Lock the state folder for this process. The lock ends with the process."""
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        lock = (settings.folder / "lock").open("w")
    except OSError as error:
        raise _cannot_keep(settings, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalError(
                f"another start uses {settings.folder}: stop it, or start this one with its own PORT and LOCAL_DIR."
            ) from error
        yield


def _refuse_taken_ports(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise LocalError about a taken port before any part starts."""
    ports = [settings.port, settings.receiver_port]
    ports += [] if environ.get("SPEECH_ENDPOINT") else [settings.upstream_port]
    ports += [] if environ.get("AzureWebJobsStorage") else astuple(settings.azurite_ports)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise LocalError(
                    f"port {port} is taken: stop what listens there, or set PORT; it and the five after it are used."
                ) from error


def _summary(settings: Settings, environ: Mapping[str, str], *, key: str | None) -> str:
    """Describe the running parts and the next commands. `key` is the function key, if the host requires one."""
    storage = f"Azurite, in {settings.folder / 'azurite'}"
    speech = f"a fake service on {settings.upstream_endpoint}"
    api = f"http://127.0.0.1:{settings.port}/api"
    callback = f"http://127.0.0.1:{settings.receiver_port}/callback"
    log = f"{settings.log}; LOG=json shows it here"
    of_key, for_curl, for_cli = (
        (f"\nkey        {key}, for the page", f"-H 'x-functions-key: {key}' ", f"BRIDGE_KEY={key} ")
        if key
        else ("", "", "")
    )
    page = f"{api}/dashboard" if key else f"http://127.0.0.1:{settings.port}/"
    submit, where = _submission(settings, environ)
    return f"""
functions  {api}
the page   {page}
receiver   {callback}
speech     {environ.get("SPEECH_ENDPOINT") or speech}
storage    {"as set by AzureWebJobsStorage" if environ.get("AzureWebJobsStorage") else storage}
log        {"shown here, and in " + str(settings.log) if settings.log_is_shown else log}{of_key}

{where}

{submit}    curl -s {api}/registrations {for_curl}-H 'Content-Type: application/json' \\
        -d "{{\\"operationId\\": \\"$id\\", \\"callbackUrl\\": \\"{callback}\\"}}"

or by the command line, which waits for its end:

    BRIDGE_URL=http://127.0.0.1:{settings.port} {for_cli}{_python()} -m bridge.cli register --wait \\
        --operation-id "$id" --callback-url {callback}

Ctrl-C stops everything.
"""


def _submission(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the command that submits a job to the fake Speech service, and a line with the next step."""
    if environ.get("SPEECH_ENDPOINT"):
        return "", "Open the page, or register here the operation id that Speech returned, as $id:"
    url = f"{settings.upstream_endpoint}/avatar/batchsyntheses/job-$(date +%s)?api-version=2024-08-01"
    text = f"""\
    id=$(curl -s -D - -o /dev/null -X PUT "{url}" \\
        -H 'Ocp-Apim-Subscription-Key: {environ.get("SPEECH_KEY") or LOCAL_SPEECH_KEY}' \\
        -d '{{"inputs": [{{"content": "Hello."}}]}}' | tr -d '\\r' | sed -n 's/^Operation-Id: //p')
"""
    return (
        text,
        "Open the page, or submit a job and register its operation. The callback appears here within a minute:",
    )


def _python() -> str:
    """Return the path of the running Python, relative if possible."""
    here, path = Path.cwd(), Path(sys.executable)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
