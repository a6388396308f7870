"""One running Azurite: start, stop, kill and restart."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self

from local.azurite.install import azurite_command
from local.service import Service

#: The published account and key of every Azurite. Not a secret.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at https?://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of the three services on 127.0.0.1. 0 takes a free port at the start."""

    #: Blobs. Not used here, but Azurite always serves them.
    blob: int = 0
    #: Queues.
    queue: int = 0
    #: Tables, the last service to be ready.
    table: int = 0

    @property
    def connection_string(self) -> str:
        """The value of `AzureWebJobsStorage` for an Azurite on these ports."""
        endpoints = (
            f"{service.capitalize()}Endpoint=http://127.0.0.1:{port}/{_ACCOUNT};"
            for service, port in asdict(self).items()
        )
        return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};" + "".join(endpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The certificate of an Azurite, which then speaks HTTPS and accepts Entra tokens in addition to the key.

    Azurite checks a token's audience, issuer and times, but not its signature (`--oauth basic`).
    """

    #: The certificate and the intermediate certificates, as PEM.
    chain: Path
    #: The private key, as PEM.
    key: Path


_LAST_TO_BE_READY = fields(Ports)[-1].name


class Azurite(Service):
    """A separate Azurite on loopback. Created by `start`, stopped at the end of a `with` block.

    `stop` lets Azurite write its state. `kill` loses up to five seconds of the state, or all state in memory. `restart`
    uses the same ports and the state in its folder.
    """

    name = "Azurite"
    stop_timeout = 10.0

    def __init__(
        self,
        *,
        command: Sequence[str],
        folder: Path | None,
        ports: Ports,
        certificate: Certificate | None,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(folder=folder, environ=None, on_end=on_end)
        self._command = command
        self._certificate = certificate
        self.ports = ports

    @classmethod
    def start(
        cls,
        folder: Path | None = None,
        ports: Ports | None = None,
        say: Callable[[str], None] = print,
        on_end: Callable[[], None] = lambda: None,
        certificate: Certificate | None = None,
    ) -> Self:
        """Install Azurite if necessary, start Azurite and return when ready.

        The state is in `folder`, or in memory without one. Raises LocalError with Azurite's output if it does not
        start, for instance if a port is taken. `on_end` is called, from another thread, if Azurite ends unexpectedly
        later.
        """
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        azurite = cls(
            command=azurite_command(say),
            folder=folder,
            ports=ports or Ports(),
            certificate=certificate,
            on_end=on_end,
        )
        azurite.launch()
        return azurite

    @property
    def connection_string(self) -> str:
        """The value of `AzureWebJobsStorage`."""
        return self.ports.connection_string

    def command(self) -> list[str]:
        """Return the command with the ports, which stay fixed after the first start."""
        arguments = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        arguments += ["--inMemoryPersistence"] if self._folder is None else ["--location", "."]
        if self._certificate is not None:
            arguments += [
                "--oauth",
                "basic",
                "--cert",
                str(self._certificate.chain),
                "--key",
                str(self._certificate.key),
            ]
        for service, port in asdict(self.ports).items():
            arguments += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
        return [*self._command, *arguments]

    def hear(self, line: str) -> bool:
        """Note the port of a service. The table service comes last."""
        listening = _LISTENING.search(line)
        if listening is None:
            return False
        service = listening[1].lower()
        self.ports = replace(self.ports, **{service: int(listening[2])})
        return service == _LAST_TO_BE_READY
