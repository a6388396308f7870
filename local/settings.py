"""What the local start chooses, and what of it the environment chooses instead."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from local.azurite import Ports
from local.errors import LocalError
from local.upstream import DEFAULT_DURATIONS, Durations
from local.web import hosts_of

REPOSITORY = Path(__file__).parents[1]

#: The key of the fake Speech service, where SPEECH_KEY does not say another.
LOCAL_SPEECH_KEY = "local-key"

_DEFAULT_PORT = "7071"
_HIGHEST_PORT = 65535
_LAST_PORT_OFFSET = 5
_SIGNING_KEY_BYTES = 32

#: For the app, where the environment has nothing else to say. Callbacks may go to this machine too.
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
    """Where the local start keeps and serves what.

    All ports follow from one, so that a callback that was registered before a restart arrives after it, and that
    a second start beside the first needs nothing but another PORT and LOCAL_DIR.
    """

    #: Where state is kept: LOCAL_DIR, by default `.local`.
    folder: Path
    #: Where the function app listens: PORT.
    port: int
    #: The folder of the function app: APP_DIR, by default this repository.
    app: Path
    #: How long operations take in the fake Speech service: FAKE_SPEECH_DURATIONS, by default 12 s each.
    durations: Durations
    #: What their chance is made from, so that a run can be repeated: FAKE_SPEECH_SEED.
    seed: int
    #: Names beside those of this machine under which all of it answers: LOCAL_HOSTS.
    hosts: frozenset[str]

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read them; raises LocalError for one that cannot be."""
        port = environ.get("PORT") or _DEFAULT_PORT
        if not (port.isascii() and port.isdecimal()) or not 0 < int(port) <= _HIGHEST_PORT - _LAST_PORT_OFFSET:
            raise LocalError(f"PORT is {port!r}: it must be a number up to {_HIGHEST_PORT - _LAST_PORT_OFFSET}.")
        return cls(
            folder=Path(environ.get("LOCAL_DIR") or REPOSITORY / ".local").absolute(),
            port=int(port),
            app=Path(environ.get("APP_DIR") or REPOSITORY).absolute(),
            durations=_durations(environ.get("FAKE_SPEECH_DURATIONS")),
            seed=_seed(environ.get("FAKE_SPEECH_SEED") or "0"),
            hosts=hosts_of(environ.get("LOCAL_HOSTS")),
        )

    @property
    def receiver_port(self) -> int:
        """Where the receiver of callbacks listens."""
        return self.port + 1

    @property
    def upstream_port(self) -> int:
        """Where the fake Speech service listens."""
        return self.port + 2

    @property
    def upstream_endpoint(self) -> str:
        """What `SPEECH_ENDPOINT` is where the environment does not say."""
        return f"http://127.0.0.1:{self.upstream_port}"

    @property
    def azurite_ports(self) -> Ports:
        """Where Azurite listens."""
        return Ports(blob=self.port + 3, queue=self.port + 4, table=self.port + _LAST_PORT_OFFSET)


def app_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of the function app; what `environ` says already stands."""
    chosen = {**_APP_SETTINGS, "AzureWebJobsStorage": settings.azurite_ports.connection_string}
    if not environ.get("SPEECH_ENDPOINT"):
        chosen["SPEECH_ENDPOINT"] = settings.upstream_endpoint
        chosen["SPEECH_KEY"] = LOCAL_SPEECH_KEY
        chosen["SPEECH_REQUESTS_PER_SECOND"] = "10"  # a fake has no quota to keep
    if not environ.get("BRIDGE_SIGNING_KEYS"):
        chosen["BRIDGE_SIGNING_KEYS"] = _signing_key(settings.folder)
    said = {name: value for name, value in environ.items() if value or name not in chosen}
    return {**chosen, **said}


def write_local_settings(path: Path, environment: Mapping[str, str], inherited: Mapping[str, str]) -> None:
    """Write what `func start` reads, for its owner only: all settings that it does not inherit anyway.

    Raises LocalError where there is such a file: it may hold what somebody else has chosen.
    """
    values = {name: value for name, value in environment.items() if inherited.get(name) != value}
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise LocalError(f"{path.name} is there already: move it away first, to have another one written.") from None
    path.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=2) + "\n")


def _durations(text: str | None) -> Durations:
    try:
        return Durations.parse(text) if text else DEFAULT_DURATIONS
    except ValueError as error:
        raise LocalError(f"FAKE_SPEECH_DURATIONS: {error}.") from error


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise LocalError(f"FAKE_SPEECH_SEED is {text!r}: it must be a whole number.")
    return int(text)


def _signing_key(folder: Path) -> str:
    """Return the key that the secrets of all receivers come from, made once and kept for its owner only.

    A crash or a full disk leaves it whole or not at all.
    """
    path = folder / "signing-key"
    if not path.exists() or not path.read_text():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / "signing-key.new"
        unfinished.touch(mode=0o600)
        unfinished.write_text(base64.b64encode(secrets.token_bytes(_SIGNING_KEY_BYTES)).decode())
        unfinished.replace(path)
    return path.read_text()
