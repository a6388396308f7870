"""See a deployment through: `python -m infra.hooks.after_deploy`, run by azd.

Triggers are synced, since a host that scales from nothing starts by what Azure knows of them; then every function has
to be listed and health has to answer, or the deployment has failed, with a reason.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.hooks.azure import Failed, Management, fetch, required, run, signed_in
from infra.hooks.functions import names_in

_SITES = "2024-04-01"
_FUNCTION_APP = Path(__file__).parents[2] / "function_app.py"

#: Looks, and the seconds between two: ten minutes, which roles and Key Vault references may take the first time.
_LOOKS = 60
_PAUSE = 10.0

_OK = 200


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

    def see_through(self, pause: Callable[[float], None]) -> None:
        """Sync, and look until all is well. Raises Failed with what was still wrong at the last look."""
        self.azure.post(f"{self.site}/syncfunctiontriggers", _SITES)
        wrong = self.what_is_wrong()
        for _ in range(_LOOKS):
            if wrong is None:
                return
            pause(_PAUSE)
            wrong = self.what_is_wrong()
        if wrong is not None:
            raise Failed(f"{wrong}. infra/README.md, Runbook, says what to look at")

    def what_is_wrong(self) -> str | None:
        """Look once; None where nothing is."""
        missing = self.functions - self._listed()
        if missing:
            return f"Azure does not list {', '.join(sorted(missing))}"
        health = fetch("GET", f"{self.url}/api/health", {})
        if health.status == _OK:
            return None
        if isinstance(health.json, dict) and health.json.get("status") == "misconfigured":
            return f"the app is misconfigured: {self._reasons()}"
        return f"{self.url}/api/health answers {health.status or 'nothing'}: {health.text[:300]}"

    def _listed(self) -> set[str]:
        functions = self.azure.get(f"{self.site}/functions", _SITES) or {"value": []}
        return {each["name"].rpartition("/")[2] for each in functions["value"]}

    def _reasons(self) -> str:
        """Ask with a key, which is told more than anybody is."""
        keys = self.azure.post(f"{self.site}/host/default/listkeys", _SITES) or {}
        key = keys.get("functionKeys", {}).get("default", "")
        return fetch("GET", f"{self.url}/api/status", {"x-functions-key": key}).text[:2000]


def deployment(environ: Mapping[str, str], azure: Management) -> Deployment:
    """Read off azd's environment what was deployed. Raises Failed."""
    return Deployment(
        site=required(environ, "SERVICE_BRIDGE_ID"),
        url=required(environ, "SERVICE_BRIDGE_URL"),
        functions=frozenset(names_in(_FUNCTION_APP)),
        azure=azure,
    )


def main() -> None:
    """Do it with the real azd and a real clock."""
    deployed = deployment(os.environ, signed_in())
    print(f"waiting until {deployed.url} answers with all its functions …", flush=True)
    deployed.see_through(time.sleep)
    print("it does")


if __name__ == "__main__":
    sys.exit(run(main))
