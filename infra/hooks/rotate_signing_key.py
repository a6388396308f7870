"""Rotate the signing key: `python -m infra.hooks.rotate_signing_key`, and later the same with `--finish`.

The first command puts a new key before the old one: callbacks are signed with both, and clients get the new secrets.
With `--finish`, when every receiver has its new secret, the old key is removed. Either waits until the app has what is
in the vault. A crash after the vault was written leaves the app behind for a day at most: run `--refresh`.

It takes Key Vault Secrets Officer on the vault and Website Contributor on the app.
"""

import base64
import json
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.hooks.after_deploy import fetch_references
from infra.hooks.azure import Failed, Management, azd, fetch, required, run, signed_in, token
from infra.hooks.before_provision import SIGNING_KEYS

_VAULT_SCOPE = "https://vault.azure.net/.default"
_VERSION = "7.4"
_KEY_BYTES = 32
_CONTENT_TYPE = "base64, separated by commas, newest first"

#: Looks at the app, and the seconds between two: five minutes.
_LOOKS = 30
_PAUSE = 10.0

_OK = 200
_FINISH, _REFRESH = "--finish", "--refresh"


@dataclass(frozen=True, slots=True)
class Vault:
    """The secret of a vault, over its data plane."""

    url: str
    token: str

    def read(self) -> list[str]:
        """Read the keys, newest first. Raises Failed."""
        return [part.strip() for part in str(self._call("GET")["value"]).split(",")]

    def write(self, keys: Sequence[str]) -> None:
        """Write a new version. Raises Failed."""
        self._call("PUT", {"value": ",".join(keys), "contentType": _CONTENT_TYPE})

    def _call(self, method: str, content: dict[str, str] | None = None) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content).encode()
        answer = fetch(method, f"{self.url}/secrets/{SIGNING_KEYS}?api-version={_VERSION}", headers, body)
        if answer.status != _OK or not isinstance(answer.json, dict):
            error = answer.json.get("error") if isinstance(answer.json, dict) else None
            reason = error.get("message", "") if isinstance(error, dict) else ""
            raise Failed(
                f"the vault answered {answer.status or 'nothing'} ({reason[:200]}). It takes the role Key Vault Secrets"
                " Officer on the vault; with private networking, run this inside the network"
            )
        return answer.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A rotation of the key of one app."""

    vault: Vault
    azure: Management
    #: The app's resource id, and its address.
    site: str
    url: str

    def begin(self, sleep: Callable[[float], None]) -> None:
        """Put a new key before the old one. Raises Failed if a rotation has begun before."""
        keys = self.vault.read()
        if len(keys) > 1:
            raise Failed(f"a rotation has begun before: the vault has {len(keys)} keys. End it with {_FINISH}")
        new = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
        self.vault.write([new, *keys])
        self.refresh(sleep)

    def finish(self, sleep: Callable[[float], None]) -> None:
        """Remove all keys but the newest. Raises Failed if there is but one."""
        keys = self.vault.read()
        if len(keys) == 1:
            raise Failed("no rotation has begun: the vault has one key")
        self.vault.write(keys[:1])
        self.refresh(sleep)

    def refresh(self, sleep: Callable[[float], None]) -> None:
        """Let the app read the vault again, and wait until it has as many keys. Raises Failed after five minutes."""
        wanted = len(self.vault.read())
        fetch_references(self.site, self.azure)
        for _ in range(_LOOKS):
            if self._public_keys() == wanted:
                return
            sleep(_PAUSE)
        raise Failed(f"the app does not have the {wanted} keys of the vault yet: look again with {_REFRESH}")

    def _public_keys(self) -> int:
        answer = fetch("GET", f"{self.url}/api/signing-keys", {})
        value = answer.json.get("value") if isinstance(answer.json, dict) else None
        return len(value) if answer.status == _OK and isinstance(value, list) else 0


def rotation() -> Rotation:
    """Read off azd's environment whose key it is. Raises Failed."""
    environ = json.loads(azd("env", "get-values", "--output", "json"))
    name = required(environ, "AZURE_KEY_VAULT_NAME")
    return Rotation(
        vault=Vault(f"https://{name}.vault.azure.net", token("--scope", _VAULT_SCOPE)),
        azure=signed_in(),
        site=required(environ, "SERVICE_BRIDGE_ID"),
        url=required(environ, "SERVICE_BRIDGE_URL"),
    )


def main() -> None:
    """Do it with the real azd and a real clock."""
    arguments = sys.argv[1:]
    if arguments not in ([], [_FINISH], [_REFRESH]):
        raise Failed(f"say nothing, {_FINISH} or {_REFRESH}")
    found = rotation()
    if arguments == [_FINISH]:
        found.finish(time.sleep)
        print("the old key is gone: callbacks are signed with the new one alone")
    elif arguments == [_REFRESH]:
        found.refresh(time.sleep)
        print("the app has the keys of the vault")
    else:
        found.begin(time.sleep)
        print(
            "callbacks are signed with both keys. Give every receiver its new secret (GET /api/signing-secret),"
            f" and then say the same with {_FINISH}"
        )


if __name__ == "__main__":
    sys.exit(run(main))
