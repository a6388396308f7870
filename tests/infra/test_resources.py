"""The resources are those that README.md promises: Flex Consumption, nothing open, children under their parents."""

import re
from collections.abc import Mapping

import pytest

from local.settings import REPOSITORY
from tests.infra.bicep import Template, body, properties, text

INFRA = REPOSITORY / "infra"
TEMPLATES = [Template.read(path) for path in sorted(INFRA.rglob("*.bicep"))]


def read(module: str) -> Template:
    """Read a module by its name."""
    return Template.read(INFRA / "modules" / f"{module}.bicep")


def values(module: str, resource: str, *path: str) -> Mapping[str, str]:
    """Read an object of a resource, by the keys that lead to it."""
    found = body(read(module).of_kind("resource")[resource])
    for key in path:
        found = properties(found[key])
    return {key: text(value) for key, value in found.items()}


def test_the_app_runs_on_flex_consumption() -> None:
    """With its package in the container, fetched by the identity, and with what can be chosen in its place."""
    settings = ("properties", "functionAppConfig")

    assert values("app", "plan", "sku") == {"name": "'FC1'", "tier": "'FlexConsumption'"}
    assert values("app", "plan", "properties") == {"reserved": "true"}
    assert values("app", "app", *settings, "deployment", "storage", "authentication") == {
        "type": "'UserAssignedIdentity'",
        "userAssignedIdentityResourceId": "identityId",
    }
    chosen = values("app", "app", *settings, "scaleAndConcurrency")
    assert {name: chosen[name] for name in chosen if name != "triggers"} == {
        name: name for name in ("instanceMemoryMB", "maximumInstanceCount", "alwaysReady")
    }
    assert values("app", "app", *settings, "scaleAndConcurrency", "triggers", "http") == {
        "perInstanceConcurrency": "httpPerInstanceConcurrency"
    }


def test_nothing_is_kept_warm_unless_it_is_asked_for() -> None:
    """The defaults are the cheapest that there are."""
    declared = Template.read(INFRA / "main.bicep").of_kind("param")
    defaults = {name: text(each.node).partition(" = ")[2] for name, each in declared.items()}

    assert defaults["instanceMemoryMB"] == "512"
    assert defaults["alwaysReadyHttp"] == defaults["alwaysReadyDeliver"] == "0"
    assert defaults["privateNetworking"] == "false"


@pytest.mark.parametrize(
    ("module", "resource", "expected"),
    [
        (
            "storage",
            "account",
            {
                "allowSharedKeyAccess": "false",
                "allowBlobPublicAccess": "false",
                "minimumTlsVersion": "'TLS1_2'",
                "supportsHttpsTrafficOnly": "true",
            },
        ),
        ("monitoring", "insights", {"DisableLocalAuth": "true"}),
        ("speech", "account", {"disableLocalAuth": "true", "customSubDomainName": "name"}),
        ("vault", "vault", {"enableRbacAuthorization": "true", "enablePurgeProtection": "true"}),
        ("app", "app", {"httpsOnly": "true", "keyVaultReferenceIdentity": "identityId"}),
    ],
)
def test_nothing_is_open_that_need_not_be(module: str, resource: str, expected: dict[str, str]) -> None:
    """No keys, no public blobs, no old TLS; checkov does not look at all of these."""
    assert expected.items() <= values(module, resource, "properties").items()


@pytest.mark.parametrize("module", ["storage", "vault"])
def test_private_networking_closes_storage_and_vault(module: str) -> None:
    """Both are told the same, and nobody but private endpoints is let in then."""
    resource = {"storage": "account", "vault": "vault"}[module]
    told = properties(body(Template.read(INFRA / "main.bicep").of_kind("module")[module])["params"])

    assert text(told["isPublic"]) == "!privateNetworking"
    assert values(module, resource, "properties")["publicNetworkAccess"] == "isPublic ? 'Enabled' : 'Disabled'"
    assert values(module, resource, "properties", "networkAcls")["defaultAction"] == "isPublic ? 'Allow' : 'Deny'"


def test_children_name_their_parent() -> None:
    """By the parent's symbol, so that they wait for it; a path in the name would be only text."""
    for template in TEMPLATES:
        for name, each in template.of_kind("resource").items():
            kind = re.search(r"'([\w.]+(?:/\w+)+)@", text(each.node))
            assert kind is not None
            assert (kind[1].count("/") > 1) == ("parent" in body(each)), (template.path.name, name)
            assert "/" not in text(body(each)["name"]), (template.path.name, name)
