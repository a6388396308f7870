"""Azure's management plane, its vaults, and azd, as far as the hooks need them."""

import http.client
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

#: A value that was read from JSON; its shape is known to the reader alone.
JsonValue: TypeAlias = Any

MANAGEMENT = "https://management.azure.com"

#: Seconds for one request.
_TIMEOUT = 60

_NOT_FOUND = 404


class Failed(Exception):
    """A hook cannot continue. The text gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an HTTP request; status 0 if no answer came."""

    status: int
    text: str

    @property
    def json(self) -> JsonValue:
        """The body as JSON, None where it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


def fetch(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
    """Make one request. Every failure is an answer."""
    body = body if body is not None else b"" if method == "POST" else None
    request = urllib.request.Request(url, body, dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            return Answer(response.status, response.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, str(error))


@dataclass(frozen=True, slots=True)
class Management:
    """The management plane, called with azd's own sign-in."""

    token: str
    endpoint: str = MANAGEMENT

    def get(self, path: str, version: str) -> JsonValue:
        """Read a resource; None if it does not exist.

        Raises Failed for every other answer: that something is not there must be known, and not guessed.
        """
        answer = self._ask("GET", f"{path}?api-version={version}")
        return None if answer.status == _NOT_FOUND else self._taken(answer, path)

    def list(self, path: str, version: str) -> list[Any]:
        """Read every page of a list; empty if there is no such list. Raises Failed as `get` does."""
        found: list[Any] = []
        page = self.get(path, version)
        while page is not None:
            found += page["value"]
            following = page.get("nextLink") or ""
            if not following.startswith(f"{self.endpoint}/"):  # the token goes nowhere else
                break
            page = self._taken(self._ask("GET", following.removeprefix(self.endpoint)), path)
        return found

    def post(self, path: str, version: str) -> JsonValue:
        """Carry out an action. Raises Failed if it was not done."""
        return self._taken(self._ask("POST", f"{path}?api-version={version}"), path)

    def _ask(self, method: str, path_and_query: str) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return fetch(method, f"{self.endpoint}{path_and_query}", headers)

    @staticmethod
    def _taken(answer: Answer, path: str) -> JsonValue:
        if answer.status not in range(200, 300):
            raise Failed(f"Azure answered {answer.status or 'nothing'} for {path}: {answer.text[:300]}")
        return answer.json


def azd(*arguments: str) -> str:
    """Run azd and return what it printed. Raises Failed; the arguments are not shown, one can be a secret."""
    try:
        done = subprocess.run(["azd", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failed(f"azd cannot be run: {error}") from error
    if done.returncode != 0:
        raise Failed(f"azd {' '.join(arguments[:2])} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def token(*arguments: str) -> str:
    """Take a token of azd's own sign-in. Raises Failed."""
    return str(json.loads(azd("auth", "token", *arguments, "--output", "json"))["token"])


def signed_in() -> Management:
    """Call the management plane as azd is signed in; no other tool need be signed in."""
    return Management(token())


def required(environ: Mapping[str, str], name: str) -> str:
    """Read what azd passes on. Raises Failed where it is missing."""
    if not environ.get(name):
        raise Failed(f"{name} is not set in azd's environment: say `azd up`, which asks for it or finds it out")
    return environ[name]


def run(hook: Callable[[], None]) -> int:
    """Run a hook. Returns 0, or 1 after one line with the reason."""
    try:
        hook()
    except Failed as error:
        print(f"failed: {error}")
        return 1
    return 0
