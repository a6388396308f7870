"""The settings of the local start, and the environment of the app."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from local.azurite import Ports
from local.errors import LocalError
from local.upstream import DEFAULT_DURATIONS, Durations, Quota, Rules, Unknown
from local.web import hosts_of

REPOSITORY = Path(__file__).parents[1]

#: The key of the fake Speech service, unless SPEECH_KEY sets another.
LOCAL_SPEECH_KEY = "local-key"

_DEFAULT_PORT = "7071"
_HIGHEST_PORT = 65535
_LAST_PORT_OFFSET = 5
_SIGNING_KEY_BYTES = 32

#: The app's default settings. Callbacks may also go to this machine.
_APP_SETTINGS = {
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "PYTHON_THREADPOOL_THREAD_COUNT": "32",
    "BRIDGE_POLL_SCHEDULE": "*/10 * * * * *",
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
    "BRIDGE_CALLBACK_KEEP_ANSWERS": "true",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the local start.

    All ports follow from PORT. A callback from before a restart therefore arrives afterwards, and a second start needs
    only another PORT and LOCAL_DIR.
    """

    #: The directory of all state: LOCAL_DIR, by default `.local`.
    folder: Path
    #: The port of the function app: PORT.
    port: int
    #: The folder of the function app: APP_DIR, by default this repository.
    app: Path
    #: How operations go in the fake Speech service: FAKE_SPEECH_DURATIONS, by default 12 s each, FAKE_SPEECH_SEED,
    #: FAKE_SPEECH_UNKNOWN and FAKE_SPEECH_QUOTA.
    rules: Rules
    #: Further host names under which all servers answer: LOCAL_HOSTS.
    hosts: frozenset[str]
    #: Whether the app's log goes to the terminal as JSON, in place of sentences: LOG=json.
    log_is_shown: bool

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises LocalError for an invalid one."""
        port = environ.get("PORT") or _DEFAULT_PORT
        if not (port.isascii() and port.isdecimal()) or not 0 < int(port) <= _HIGHEST_PORT - _LAST_PORT_OFFSET:
            raise LocalError(f"PORT is {port!r}: it must be a number up to {_HIGHEST_PORT - _LAST_PORT_OFFSET}.")
        folder = Path(environ.get("LOCAL_DIR") or REPOSITORY / ".local").absolute()
        return cls(
            folder=folder,
            port=int(port),
            app=Path(environ.get("APP_DIR") or REPOSITORY).absolute(),
            rules=Rules(
                durations=_durations(environ.get("FAKE_SPEECH_DURATIONS")),
                seed=_seed(environ.get("FAKE_SPEECH_SEED") or "0"),
                quota=_quota(environ.get("FAKE_SPEECH_QUOTA")),
                unknown=_unknown(environ.get("FAKE_SPEECH_UNKNOWN") or Unknown.NOT_FOUND),
                state=folder / "fake-speech.json",
            ),
            hosts=hosts_of(environ.get("LOCAL_HOSTS")),
            log_is_shown=_log_is_shown(environ.get("LOG")),
        )

    @property
    def log(self) -> Path:
        """Where the app's log is written, a JSON object each line."""
        return self.folder / "log.jsonl"

    @property
    def receiver_port(self) -> int:
        """The port of the receiver of callbacks."""
        return self.port + 1

    @property
    def upstream_port(self) -> int:
        """The port of the fake Speech service."""
        return self.port + 2

    @property
    def upstream_endpoint(self) -> str:
        """The default of `SPEECH_ENDPOINT`."""
        return f"http://127.0.0.1:{self.upstream_port}"

    @property
    def azurite_ports(self) -> Ports:
        """The ports of Azurite."""
        return Ports(blob=self.port + 3, queue=self.port + 4, table=self.port + _LAST_PORT_OFFSET)


def app_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of the function app. Values in `environ` take precedence."""
    chosen = {**_APP_SETTINGS, "AzureWebJobsStorage": settings.azurite_ports.connection_string}
    if not environ.get("SPEECH_ENDPOINT"):
        chosen["SPEECH_ENDPOINT"] = settings.upstream_endpoint
        chosen["SPEECH_KEY"] = LOCAL_SPEECH_KEY
        # A fake has no quota by default, and a person waits for the first callback.
        chosen |= {"SPEECH_REQUESTS_PER_SECOND": "10", "BRIDGE_POLL_INTERVAL": "10s"}
    if not environ.get("BRIDGE_SIGNING_KEYS"):
        chosen["BRIDGE_SIGNING_KEYS"] = _signing_key(settings.folder)
    output = {name: value for name, value in environ.items() if value or name not in chosen}
    return {**chosen, **output}


def write_local_settings(path: Path, environment: Mapping[str, str], inherited: Mapping[str, str]) -> None:
    """Write the settings file of `func start`, readable by the owner only, without inherited variables.

    Raises LocalError if the file exists: other settings could be lost.
    """
    values = {name: value for name, value in environment.items() if inherited.get(name) != value}
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise LocalError(f"{path.name} already exists: move it away first to write another one.") from None
    path.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=2) + "\n")


def _durations(text: str | None) -> Durations:
    try:
        return Durations.parse(text) if text else DEFAULT_DURATIONS
    except ValueError as error:
        raise LocalError(f"FAKE_SPEECH_DURATIONS: {error}.") from error


def _quota(text: str | None) -> Quota | None:
    try:
        return Quota.parse(text) if text else None
    except ValueError as error:
        raise LocalError(f"FAKE_SPEECH_QUOTA: {error}.") from error


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise LocalError(f"FAKE_SPEECH_SEED is {text!r}: it must be a whole number.")
    return int(text)


def _unknown(text: str) -> Unknown:
    try:
        return Unknown(text)
    except ValueError:
        raise LocalError(f"FAKE_SPEECH_UNKNOWN is {text!r}: it must be {' or '.join(Unknown)}.") from None


def _log_is_shown(text: str | None) -> bool:
    if text not in (None, "", "json"):
        raise LocalError(f"LOG is {text!r}: it must be json, or not set.")
    return text == "json"


def _signing_key(folder: Path) -> str:
    """Return the signing key, created once and readable by the owner only.

    After a crash or a full disk the file is complete or missing.
    """
    path = folder / "signing-key"
    if not path.exists() or not path.read_text():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / "signing-key.new"
        unfinished.touch(mode=0o600)
        unfinished.write_text(base64.b64encode(secrets.token_bytes(_SIGNING_KEY_BYTES)).decode())
        unfinished.replace(path)
    return path.read_text()
