"""See a deployment through: `python -m infra.hooks.after_deploy`, run by azd.

Triggers are synced, since a host that scales from nothing starts by what Azure knows of them. Then every function has
to be listed and health has to answer, or the deployment has failed, with a reason. At the end it prints the next steps.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.hooks.azure import Failed, Management, fetch, required, run, signed_in
from infra.hooks.functions import function_names

_SITES = "2024-11-01"
_REFERENCES = "2022-03-01"
_ROOT = Path(__file__).parents[2]

#: Looks, and the seconds between two: ten minutes, which roles and Key Vault references may take the first time.
_LOOKS = 60
_PAUSE = 10.0

#: Key Vault references are fetched again at every sixth look at a misconfigured app: fetching restarts instances.
_LOOKS_PER_FETCH = 6

_OK, _FORBIDDEN = 200, 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A function app that has just been deployed."""

    #: Its resource id.
    site: str
    #: Where it answers.
    url: str
    #: The functions that it has to have.
    functions: frozenset[str]
    azure: Management

    def see_through(self, sleep: Callable[[float], None]) -> None:
        """Sync, and look until all is well. Raises Failed with what was still wrong at the last look.

        A young app answers with all kinds of errors for some minutes, and so does Azure for it.
        """
        is_synced = False
        wrong: str | None = None
        for look in range(_LOOKS + 1):
            if look:
                sleep(_PAUSE)
            try:
                if not is_synced:
                    self.azure.post(f"{self.site}/syncfunctiontriggers", _SITES)
                    is_synced = True
                wrong = self.what_is_wrong(fetches=look % _LOOKS_PER_FETCH == 0)
            except Failed as error:
                wrong = str(error)
            if wrong is None:
                return
        raise Failed(f"{wrong}. infra/README.md, Runbook, says what to look at")

    def what_is_wrong(self, *, fetches: bool = False) -> str | None:
        """Look once; None if nothing is. Raises Failed if Azure does not answer.

        With `fetches` Azure fetches the Key Vault references of a misconfigured app again. It keeps a failed one for a
        day otherwise, even if only the role was not effective yet.
        """
        missing = self.functions - self._listed()
        if missing:
            return (
                f"Azure does not list {', '.join(sorted(missing))}. If this stays so, look at the build log for another"
                " Python than 3.13 (--platform-version)"
            )
        health = fetch("GET", f"{self.url}/api/health", {})
        if health.status == _OK:
            return None
        if isinstance(health.json, dict) and health.json.get("status") == "misconfigured":
            if fetches:
                with suppress(Failed):  # the reason is what the app says
                    fetch_references(self.site, self.azure)
            return f"the app is misconfigured: {self._reasons()}"
        if health.status == _FORBIDDEN:
            return f"{self.url}/api/health answers 403: is this machine's address in API_ALLOWED_RANGES?"
        return f"{self.url}/api/health answers {health.status or 'nothing'}: {health.text[:300]}"

    def _listed(self) -> set[str]:
        return {each["name"].rpartition("/")[2] for each in self.azure.list(f"{self.site}/functions", _SITES)}

    def _reasons(self) -> str:
        """Return the status as a caller with a key reads it. Calls without a key get less detail."""
        keys = self.azure.post(f"{self.site}/host/default/listkeys", _SITES) or {}
        key = keys.get("functionKeys", {}).get("default", "")
        return fetch("GET", f"{self.url}/api/status", {"x-functions-key": key}).text[:2000]


def fetch_references(site: str, azure: Management) -> None:
    """Let Azure fetch the Key Vault references of an app again; otherwise it does so once a day. Raises Failed."""
    azure.post(f"{site}/config/configreferences/appsettings/refresh", _REFERENCES)


def deployment(environ: Mapping[str, str], azure: Management) -> Deployment:
    """Read off azd's environment what was deployed. Raises Failed."""
    return Deployment(
        site=required(environ, "SERVICE_BRIDGE_ID"),
        url=required(environ, "SERVICE_BRIDGE_URL"),
        functions=frozenset(function_names(_ROOT)),
        azure=azure,
    )


def next_steps(environ: Mapping[str, str]) -> str:
    """Write what to copy after a deployment: the page, the command for a key, the lines for the command line."""
    url = required(environ, "SERVICE_BRIDGE_URL")
    group, name = required(environ, "AZURE_RESOURCE_GROUP"), required(environ, "SERVICE_BRIDGE_NAME")
    key = f"az functionapp keys list -g '{group}' -n '{name}' --query functionKeys.default -o tsv"
    credential = f'export BRIDGE_KEY="$({key})"'
    how = ("A key for the page and for clients:", f"  {key}")
    if environ.get("BRIDGE_AUTH") == "entra":
        scope = _scope(environ.get("BRIDGE_AUTH_AUDIENCE", ""))
        token = f"az account get-access-token --scope '{scope}' --query accessToken -o tsv"
        credential = f'export BRIDGE_TOKEN="$({token})"'
        how = ("A token for the page, if you have a role (infra/README.md, Tokens instead of keys):", f"  {token}")
    lines = [
        f"The page: {url}/api/dashboard",
        *how,
        "The command line, `speech-webhooks status` for instance:",
        f"  export BRIDGE_URL={url}",
        f"  {credential}",
    ]
    if environ.get("BRIDGE_OUTBOUND_ADDRESS"):
        lines.append(f"Callbacks come from {environ['BRIDGE_OUTBOUND_ADDRESS']}")
    return "\n".join(lines)


def _scope(audience: str) -> str:
    return f"{audience if audience.startswith('api://') else f'api://{audience}'}/.default"


def main() -> None:
    """Do it with the real azd and a real clock."""
    deployed = deployment(os.environ, signed_in())
    print(f"waiting until {deployed.url} answers with all its functions …", flush=True)
    deployed.see_through(time.sleep)
    print(f"it does.\n\n{next_steps(os.environ)}")


if __name__ == "__main__":
    sys.exit(run(main))
