"""The hooks, against a management plane and an app that a test plays, over real sockets."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Request, Response

from infra.hooks.after_deploy import Deployment, deployment
from infra.hooks.after_provision import finish
from infra.hooks.azure import Failed, Management, azd, run, signed_in
from infra.hooks.before_provision import SECRET, VARIABLE, prepare
from local.settings import REPOSITORY
from local.web import WebServer

GROUP = "/subscriptions/s/resourceGroups/rg-e"
VAULTS = f"{GROUP}/providers/Microsoft.KeyVault/vaults"
VAULT = f"{VAULTS}/kv"
SITE = f"{GROUP}/providers/Microsoft.Web/sites/func"
ENVIRON = {"AZURE_SUBSCRIPTION_ID": "s", "AZURE_ENV_NAME": "e"}


@dataclass
class Played:
    """Azure and the app by script; what is not in it is not found."""

    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def tell(self, path: str, *answers: tuple[int, Any]) -> None:
        """Script the answers for a path; the last one stays."""
        self.answers[path] = list(answers)

    def __call__(self, environ: Any, start_response: Any) -> Any:  # noqa: ANN401 - WSGI
        """Answer, and remember who asked."""
        request = Request(environ)
        key = request.headers.get("x-functions-key") or request.headers.get("Authorization")
        self.requests.append((request.method, request.path, key))
        script = self.answers.get(request.path, [(404, {"error": {"code": "NotFound"}})])
        status, body = script.pop(0) if len(script) > 1 else script[0]
        return Response(json.dumps(body), status, mimetype="application/json")(environ, start_response)


@pytest.fixture
def played() -> Played:
    """Play an empty subscription."""
    return Played()


@pytest.fixture
def url(played: Played) -> Iterator[str]:
    """Serve it."""
    server = WebServer(played)
    yield server.url
    assert server.stop(10)


@pytest.fixture
def azure(url: str) -> Management:
    """Be signed in."""
    return Management("token", url)


def prepared(azure: Management, **more: str) -> dict[str, str]:
    """Run the hook before provisioning; say what azd was told to remember."""
    told: dict[str, str] = {}
    prepare({**ENVIRON, **more}, azure, told.__setitem__)
    return told


def test_the_first_time_a_key_is_made(azure: Management, played: Played) -> None:
    """There is no group yet."""
    told = prepared(azure)

    assert len(base64.b64decode(told[VARIABLE], validate=True)) == 32
    assert played.requests == [("GET", VAULTS, "Bearer token")]


def test_a_vault_without_the_secret_gets_one(azure: Management, played: Played) -> None:
    """Provisioning broke off before."""
    played.tell(VAULTS, (200, {"value": [{"id": VAULT}]}))
    played.tell(f"{VAULT}/secrets", (200, {"value": [{"name": "SPEECH-KEY"}]}))

    assert prepared(azure)[VARIABLE]


def test_a_key_that_was_made_before_is_kept(azure: Management) -> None:
    """Until it is in the vault."""
    assert prepared(azure, **{VARIABLE: "made before"}) == {}


def test_a_key_in_the_vault_is_never_replaced(azure: Management, played: Played) -> None:
    """Not even by one that was left behind in azd's environment."""
    played.tell(VAULTS, (200, {"value": [{"id": VAULT}]}))
    played.tell(f"{VAULT}/secrets", (200, {"value": [{"name": SECRET}]}))

    assert prepared(azure, **{VARIABLE: "left behind"}) == {VARIABLE: ""}


@pytest.mark.parametrize("path", [VAULTS, f"{VAULT}/secrets"])
def test_what_azure_does_not_say_is_not_guessed(azure: Management, played: Played, path: str) -> None:
    """A new key because of a 403 would give every receiver another secret."""
    played.tell(VAULTS, (200, {"value": [{"id": VAULT}]}))
    played.tell(path, (403, {"error": {"code": "AuthorizationFailed"}}))

    with pytest.raises(Failed, match="Azure answered 403"):
        prepared(azure)


def test_nobody_answering_is_not_guessed_either() -> None:
    """Likewise."""
    with pytest.raises(Failed, match="Azure answered nothing"):
        prepare(ENVIRON, Management("token", "http://127.0.0.1:1"), lambda _name, _value: None)


def deployed(azure: Management) -> Deployment:
    """Deploy an app of two functions."""
    return Deployment(site=SITE, url=azure.endpoint, functions=frozenset({"sweep", "deliver"}), azure=azure)


def listing(*names: str) -> tuple[int, Any]:
    """List functions as Azure does."""
    return 200, {"value": [{"name": f"func/{name}"} for name in names]}


def test_a_deployment_is_seen_through(azure: Management, played: Played) -> None:
    """Synced first; then functions come one by one, and health last."""
    pauses: list[float] = []
    played.tell(f"{SITE}/syncfunctiontriggers", (204, None))
    played.tell(f"{SITE}/functions", listing(), listing("sweep"), listing("sweep", "deliver"))
    played.tell("/api/health", (502, None), (200, {"status": "ok"}))

    deployed(azure).see_through(pauses.append)

    assert played.requests[0][:2] == ("POST", f"{SITE}/syncfunctiontriggers")
    assert pauses == [10.0] * 3


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        (f"{SITE}/functions", listing("deliver"), "Azure does not list sweep"),
        ("/api/health", (404, None), "/api/health answers 404"),
        ("/api/health", (503, {"status": "misconfigured"}), "the app is misconfigured: .*SPEECH_ENDPOINT"),
    ],
)
def test_a_deployment_that_does_not_come_up_says_why(
    azure: Management, played: Played, path: str, answer: tuple[int, Any], reason: str
) -> None:
    """After ten minutes."""
    pauses: list[float] = []
    played.tell(f"{SITE}/syncfunctiontriggers", (204, None))
    played.tell(f"{SITE}/functions", listing("sweep", "deliver"))
    played.tell("/api/health", (200, {"status": "ok"}))
    played.tell(f"{SITE}/host/default/listkeys", (200, {"functionKeys": {"default": "a key"}}))
    played.tell("/api/status", (503, {"error": {"code": "Misconfigured", "details": [{"target": "SPEECH_ENDPOINT"}]}}))
    played.tell(path, answer)

    with pytest.raises(Failed, match=reason):
        deployed(azure).see_through(pauses.append)

    assert sum(pauses) == 600


def test_a_key_is_asked_for_only_to_learn_the_reasons(azure: Management, played: Played) -> None:
    """And goes to the app alone."""
    played.tell(f"{SITE}/functions", listing("sweep", "deliver"))
    played.tell("/api/health", (503, {"status": "misconfigured"}))
    played.tell(f"{SITE}/host/default/listkeys", (200, {"functionKeys": {"default": "a key"}}))

    deployed(azure).what_is_wrong()

    assert [path for _, path, key in played.requests if key == "a key"] == ["/api/status"]
    assert [path for _, path, key in played.requests if key is None] == ["/api/health"]


def test_a_sync_that_azure_refuses_fails_the_deployment(azure: Management, played: Played) -> None:
    """With what it said."""
    played.tell(f"{SITE}/syncfunctiontriggers", (400, {"error": {"message": "Encountered an error"}}))

    with pytest.raises(Failed, match="Encountered an error"):
        deployed(azure).see_through(lambda _: None)


def test_what_azd_does_not_pass_on_is_named(azure: Management) -> None:
    """Whoever runs a hook by hand sees why it cannot work."""
    with pytest.raises(Failed, match="SERVICE_BRIDGE_ID is not set"):
        deployment({}, azure)


def test_the_deployed_app_has_to_have_every_function(azure: Management) -> None:
    """The timer and the queue among them."""
    found = deployment({"SERVICE_BRIDGE_ID": SITE, "SERVICE_BRIDGE_URL": azure.endpoint}, azure)

    assert {"sweep", "deliver", "health", "register"} <= found.functions


def test_a_failure_is_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """By which azd stops."""

    def fail() -> None:
        raise Failed("it is so")

    assert run(fail) == 1
    assert capsys.readouterr().out == "failed: it is so\n"
    assert run(lambda: None) == 0


def test_secrets_are_taken_out_of_azds_environment(azure: Management, played: Played) -> None:
    """Once they are in the vault."""
    told: dict[str, str] = {}
    played.tell(VAULTS, (200, {"value": [{"id": VAULT}]}))
    played.tell(f"{VAULT}/secrets", (200, {"value": [{"name": SECRET}]}))

    finish(ENVIRON, azure, told.__setitem__)

    assert told == {"NEW_SIGNING_KEY": "", "NEW_SPEECH_KEY": ""}


def test_a_key_that_did_not_get_into_the_vault_stays(azure: Management) -> None:
    """The next run puts it there."""
    told: dict[str, str] = {}

    with pytest.raises(Failed, match="the vault has no signing key"):
        finish(ENVIRON, azure, told.__setitem__)

    assert told == {}


def put_azd(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an azd on the path."""
    program = folder / "azd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_azd_says_who_is_signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other tool is asked."""
    put_azd(tmp_path, 'test "$*" = "auth token --output json" && echo \'{"token": "of azd"}\'', monkeypatch)

    assert signed_in() == Management("of azd")


def test_a_secret_is_not_shown_when_azd_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is."""
    put_azd(tmp_path, "echo no environment >&2; exit 1", monkeypatch)

    with pytest.raises(Failed, match="azd env set failed: no environment") as caught:
        azd("env", "set", "NEW_SIGNING_KEY", "hunter2")

    assert "hunter2" not in str(caught.value)


def hook(name: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run a hook as azure.yaml has it."""
    return subprocess.run(
        [sys.executable, "-m", f"infra.hooks.{name}"],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["before_provision", "after_provision", "after_deploy"])
def test_without_azd_a_hook_fails_with_a_reason(name: str, tmp_path: Path) -> None:
    """And azd stops."""
    done = hook(name, str(tmp_path))

    assert done.returncode == 1
    assert done.stdout.startswith("failed: ")
    assert not done.stderr


def test_azure_yaml_runs_the_hooks_that_are_there() -> None:
    """On both kinds of machine."""
    text = (REPOSITORY / "azure.yaml").read_text()
    run = [line.partition("run: ")[2].strip(" }") for line in text.splitlines() if "run: " in line]

    assert len(run) == 6
    for command in run:
        _, _, module = command.partition(" -m ")
        assert (REPOSITORY / f"{module.replace('.', '/')}.py").is_file()
