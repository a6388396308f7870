"""Check the choices, and make a signing key for a vault that has none: `python -m infra.hooks.before_provision`.

azd runs it before anything is created. Every wrong choice is named at once. The key goes into azd's environment and
from there, as a secure parameter, into the vault; after that it is taken out again. A crash in between leaves it there,
and the next run uses it. A key that the vault has is never replaced: all receivers' secrets come from it.
"""

import base64
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping

from infra.hooks.azure import Failed, Management, azd, required, run, signed_in
from infra.hooks.choices import problems

#: What the templates call the secret.
SIGNING_KEYS = "BRIDGE-SIGNING-KEYS"

#: What the templates read the new key from.
VARIABLE = "NEW_SIGNING_KEY"

#: What the templates read the address of the runbook from.
RUNBOOK = "RUNBOOK_URL"

_KEY_BYTES = 32
_VAULTS = "2023-07-01"
_ACCOUNTS = "2024-10-01"
_ACTION_GROUPS = "2023-01-01"
_PROVIDERS = "2021-04-01"

#: The kinds of accounts that have the Speech service.
_SPEECH_KINDS = ("SpeechServices", "CognitiveServices", "AIServices")

#: The provider of the app's subnet; one that is not registered shows as a 500 without a reason.
_PROVIDER = "Microsoft.App"

_GITHUB = re.compile(r"(?:https://(?:[^@/]+@)?github\.com/|git@github\.com:)([\w.-]+/[\w.-]+?)(?:\.git)?/?")

#: Tells azd the value of a variable.
Remember = Callable[[str, str], object]


def check(environ: Mapping[str, str], azure: Management) -> None:
    """Look at every choice. Raises Failed with all that is wrong, before anything is created."""
    subscription = required(environ, "AZURE_SUBSCRIPTION_ID")
    found = problems(environ)
    if not any(problem.startswith("SPEECH_RESOURCE_ID") for problem in found):
        found += _of_speech(environ.get("SPEECH_RESOURCE_ID", ""), azure)
    if not any(problem.startswith("ALERT_ACTION_GROUP_ID") for problem in found):
        found += _of_action_group(environ.get("ALERT_ACTION_GROUP_ID", ""), azure)
    provider = azure.get(f"/subscriptions/{subscription}/providers/{_PROVIDER}", _PROVIDERS) or {}
    if provider.get("registrationState") != "Registered":
        found.append(
            f"the subscription does not know {_PROVIDER}: say `az provider register --namespace {_PROVIDER} --wait`"
        )
    if found:
        raise Failed("nothing was created.\n" + "\n".join(f"- {problem}" for problem in found))


def _of_speech(resource: str, azure: Management) -> list[str]:
    if not resource:
        return []
    account = azure.get(resource, _ACCOUNTS)
    if account is None:
        return ["SPEECH_RESOURCE_ID names a resource that does not exist"]
    if account.get("kind") not in _SPEECH_KINDS:
        return [f"SPEECH_RESOURCE_ID can be a resource of the kind {', '.join(_SPEECH_KINDS)}"]
    return []


def _of_action_group(resource: str, azure: Management) -> list[str]:
    if not resource or azure.get(resource, _ACTION_GROUPS) is not None:
        return []
    return ["ALERT_ACTION_GROUP_ID names an action group that does not exist"]


def prepare(environ: Mapping[str, str], azure: Management, remember: Remember) -> None:
    """Pass the new key of the vault to `remember`, or an empty text if the vault has a key. Raises Failed."""
    if has_key(environ, azure):
        remember(VARIABLE, "")
    elif not environ.get(VARIABLE):
        remember(VARIABLE, base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode())
        print("made a signing key: the vault has none yet")


def has_key(environ: Mapping[str, str], azure: Management) -> bool:
    """Tell whether a vault of the resource group has the secret; a group that is not there has none. Raises Failed."""
    subscription, name = required(environ, "AZURE_SUBSCRIPTION_ID"), required(environ, "AZURE_ENV_NAME")
    group = f"/subscriptions/{subscription}/resourceGroups/rg-{name}"
    vaults = azure.list(f"{group}/providers/Microsoft.KeyVault/vaults", _VAULTS)
    return any(azure.get(f"{vault['id']}/secrets/{SIGNING_KEYS}", _VAULTS) is not None for vault in vaults)


def link_runbook(environ: Mapping[str, str], remote: str, remember: Remember) -> None:
    """Let alerts link to the runbook of the checkout's repository, if it is on GitHub and no other is chosen."""
    repository = _GITHUB.fullmatch(remote.strip())
    if repository is not None and not environ.get(RUNBOOK):
        remember(RUNBOOK, f"https://github.com/{repository[1]}/blob/HEAD/infra/README.md")


def _remote() -> str:
    """Read where the checkout comes from; nothing if it is none."""
    try:
        done = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def main() -> None:
    """Do it with the real azd."""
    azure = signed_in()
    check(os.environ, azure)
    prepare(os.environ, azure, _remember)
    link_runbook(os.environ, _remote(), _remember)


def _remember(name: str, value: str) -> None:
    azd("env", "set", name, value)


if __name__ == "__main__":
    sys.exit(run(main))
