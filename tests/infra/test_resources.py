"""The evaluated deployments have the resources of README.md: names, roles, networks, and no unneeded access."""

import json
import re
from typing import Any

import pytest

from infra.hooks.functions import function_names
from local.settings import REPOSITORY
from tests.infra.bicep import DEPLOYMENTS, SUBSCRIPTION, Snapshot, snapshot

ACCOUNT, VAULT, SPEECH = (
    "Microsoft.Storage/storageAccounts",
    "Microsoft.KeyVault/vaults",
    "Microsoft.CognitiveServices/accounts",
)
ROLE = "Microsoft.Authorization/roleAssignments"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-"

#: The roles by id, each with the resource type of the scope.
ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": ACCOUNT,  # Storage Blob Data Owner
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": ACCOUNT,  # Storage Queue Data Contributor
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": ACCOUNT,  # Storage Table Data Contributor
    "4633458b-17de-408a-b874-0445c86b69e6": VAULT,  # Key Vault Secrets User
    "3913510d-42f4-4e42-8a64-420c390055eb": "Microsoft.Insights/components",  # Monitoring Metrics Publisher
    "f2dc8367-1007-4938-bd23-fe263f013447": SPEECH,  # Cognitive Services Speech User
}


def roles(evaluated: Snapshot) -> dict[str, str]:
    """Return the scope of each role assignment."""
    assigned = {}
    for each in evaluated.resources:
        if each["type"] == ROLE:
            [scope] = re.findall(r"^\[extensionResourceId\('([^']+)', 'Microsoft.Authorization/role", each["id"])
            role = each["properties"]["roleDefinitionId"].rpartition("/")[2]
            assert role not in assigned
            assert each["properties"]["principalType"] == "ServicePrincipal"
            assert "/userAssignedIdentities/id-bridge-" in each["properties"]["principalId"]
            assigned[role] = scope
    return assigned


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_each_role_is_given_on_one_resource(deployment: str) -> None:
    """No role covers a whole group, and there are no other roles."""
    evaluated = snapshot(deployment)
    assigned = roles(evaluated)

    expected = {role: kind for role, kind in ROLES.items() if kind != SPEECH or deployment != "endpoint-with-key"}
    assert assigned.keys() == expected.keys()
    assert all(re.search(f"/providers/{expected[role]}/[^/]+$", scope) for role, scope in assigned.items())


def test_the_role_on_a_named_speech_resource_is_in_its_own_subscription() -> None:
    """All other roles are in the group of the bridge."""
    scopes = roles(snapshot("named-speech"))

    outside = {role for role, scope in scopes.items() if not scope.startswith(GROUP)}
    [role] = outside
    assert scopes[role] == (
        "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/Media"
        "/providers/Microsoft.CognitiveServices/accounts/Speech-Of-Media"
    )


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_resource_of_the_bridge_is_in_one_group(deployment: str) -> None:
    """The resources are in the chosen region, with the tag that `azd down` and the portal use."""
    evaluated = snapshot(deployment)

    for each in evaluated.resources:
        assert each.get("tags", {}).get("azd-env-name", deployment) == deployment
        assert each.get("location", "global") in ("westeurope", "francecentral", "global")
        if not each["id"].startswith("["):
            assert each["id"].lower().startswith(f"{GROUP}{deployment}".lower()), each["id"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_names_are_within_the_limits_of_azure(deployment: str) -> None:
    """Maximum lengths: storage accounts and vaults 24, apps 60, Speech 64 characters."""
    evaluated = snapshot(deployment)

    assert re.fullmatch(r"[a-z0-9]{3,24}", evaluated.one(ACCOUNT)["name"])
    assert re.fullmatch(r"[a-z][a-z0-9-]{2,23}", evaluated.one(VAULT)["name"])
    assert re.fullmatch(r"[a-z0-9-]{2,60}", evaluated.one("Microsoft.Web/sites")["name"])
    assert all(re.fullmatch(r"[a-z0-9-]{2,64}", name) for name in evaluated.of_type(SPEECH))


def test_two_deployments_share_no_name() -> None:
    """Names of storage accounts, vaults, apps and Speech resources are global."""
    kinds = (ACCOUNT, VAULT, SPEECH, "Microsoft.Web/sites")
    names = [name for each in DEPLOYMENTS for kind in kinds for name in snapshot(each).of_type(kind)]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_the_app_runs_on_flex_consumption(deployment: str) -> None:
    """The package is in the container, and the app reads the container with the identity."""
    evaluated = snapshot(deployment)
    config, plan = evaluated.app["functionAppConfig"], evaluated.one("Microsoft.Web/serverfarms")
    identity = evaluated.one("Microsoft.ManagedIdentity/userAssignedIdentities")["id"]

    assert plan["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    assert plan["properties"] == {"reserved": True}
    assert config["runtime"] == {"name": "python", "version": "3.13"}
    assert config["deployment"]["storage"]["authentication"] == {
        "type": "UserAssignedIdentity",
        "userAssignedIdentityResourceId": identity,
    }
    assert set(evaluated.one("Microsoft.Web/sites")["identity"]["userAssignedIdentities"]) == {identity}
    assert evaluated.app["keyVaultReferenceIdentity"] == identity


def test_instances_are_replaced_one_after_another() -> None:
    """Flex's default ends every invocation at each deployment and each change of a setting."""
    app = snapshot("default").one("Microsoft.Web/sites")

    assert app["properties"]["functionAppConfig"]["siteUpdateStrategy"] == {"type": "RollingUpdate"}
    assert app["apiVersion"] >= "2024-11-01"


def scale(deployment: str) -> dict[str, Any]:
    """Return the scale settings of the app."""
    return dict(snapshot(deployment).app["functionAppConfig"]["scaleAndConcurrency"])


def test_the_queries_of_the_workbook_go_to_the_workspace() -> None:
    """The workbook can be opened from any place."""
    evaluated = snapshot("default")
    workspace = evaluated.one("Microsoft.OperationalInsights/workspaces")["id"]
    workbook = evaluated.one("Microsoft.Insights/workbooks")["properties"]

    assert workbook["sourceId"] == workspace
    assert json.loads(workbook["serializedData"])["fallbackResourceIds"] == [workspace]


def test_nothing_is_kept_warm_unless_chosen() -> None:
    """The defaults are the cheapest."""
    assert scale("default") == {
        "instanceMemoryMB": 512,
        "maximumInstanceCount": 40,
        "alwaysReady": [],
        "triggers": {"http": {"perInstanceConcurrency": 16}},
    }


def test_instances_are_kept_warm_by_group() -> None:
    """The group of deliveries has the name of the queue function."""
    assert scale("always-ready") == {
        "instanceMemoryMB": 2048,
        "maximumInstanceCount": 100,
        "alwaysReady": [
            {"name": "http", "instanceCount": 1},
            {"name": "function:deliver", "instanceCount": 2},
        ],
        "triggers": {"http": {"perInstanceConcurrency": 32}},
    }
    assert "deliver" in function_names(REPOSITORY)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            ACCOUNT,
            {
                "allowSharedKeyAccess": False,
                "allowBlobPublicAccess": False,
                "allowCrossTenantReplication": False,
                "minimumTlsVersion": "TLS1_2",
                "supportsHttpsTrafficOnly": True,
            },
        ),
        ("Microsoft.Insights/components", {"DisableLocalAuth": True}),
        (SPEECH, {"disableLocalAuth": True}),
        (VAULT, {"enableRbacAuthorization": True, "enablePurgeProtection": True, "enableSoftDelete": True}),
        ("Microsoft.Web/sites", {"httpsOnly": True}),
    ],
)
def test_unneeded_access_is_closed(kind: str, expected: dict[str, Any]) -> None:
    """Keys, public blobs and old TLS versions are off."""
    assert expected.items() <= snapshot("default").one(kind)["properties"].items()


def test_a_created_speech_resource_has_the_subdomain_that_tokens_need() -> None:
    """The subdomain is the resource's globally unique name."""
    speech = snapshot("default").one(SPEECH)

    assert speech["properties"]["customSubDomainName"] == speech["name"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_deployments_need_a_token_and_new_tls(deployment: str) -> None:
    """FTP and publishing passwords are off."""
    evaluated = snapshot(deployment)
    policies = evaluated.of_type("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    config = evaluated.app["siteConfig"]

    assert {name.rpartition("/")[2]: each["properties"]["allow"] for name, each in policies.items()} == {
        "ftp": False,
        "scm": False,
    }
    assert (config["ftpsState"], config["minTlsVersion"], config["scmMinTlsVersion"]) == ("Disabled", "1.2", "1.2")


def test_the_api_is_open_to_every_address_by_default() -> None:
    """Keys or tokens protect the API."""
    config = snapshot("default").app["siteConfig"]

    assert config["ipSecurityRestrictionsDefaultAction"] == "Allow"
    assert config["ipSecurityRestrictions"] == []


def test_the_api_is_open_to_the_chosen_ranges_only() -> None:
    """Deployments work from other addresses too, since they use another host name and a token."""
    config = snapshot("entra").app["siteConfig"]

    assert config["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert [(each["ipAddress"], each["action"]) for each in config["ipSecurityRestrictions"]] == [
        ("198.51.100.0/24", "Allow"),
        ("2001:db8::/32", "Allow"),
    ]
    assert len({each["priority"] for each in config["ipSecurityRestrictions"]}) == 2
    assert config["scmIpSecurityRestrictionsUseMain"] is False


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_reads_and_changes_of_secrets_are_logged(deployment: str) -> None:
    """The log is in the workspace of the deployment."""
    evaluated = snapshot(deployment)
    [setting] = evaluated.of_type("Microsoft.Insights/diagnosticSettings").values()

    assert f"/vaults/{evaluated.one(VAULT)['name']}/" in setting["id"]
    assert setting["properties"]["workspaceId"] == evaluated.one("Microsoft.OperationalInsights/workspaces")["id"]
    assert setting["properties"]["logs"] == [{"categoryGroup": "audit", "enabled": True}]


@pytest.mark.parametrize(("deployment", "cap"), [("default", 1), ("always-ready", 0.5)])
def test_the_log_has_a_daily_cap(deployment: str, cap: float) -> None:
    """Rejected requests of outsiders write log lines too."""
    workspace = snapshot(deployment).one("Microsoft.OperationalInsights/workspaces")

    assert workspace["properties"]["workspaceCapping"] == {"dailyQuotaGb": cap}


def test_secrets_are_written_only_where_given_and_one_after_the_other() -> None:
    """A vault can reject two simultaneous first writes."""
    secrets = snapshot("default").of_type("Microsoft.KeyVault/vaults/secrets")
    named = {name.rpartition("/")[2]: each for name, each in secrets.items()}

    assert {name: each["condition"] for name, each in named.items()} == {
        "BRIDGE-SIGNING-KEYS": "[not(empty(parameters('newSigningKey')))]",
        "SPEECH-KEY": "[not(empty(parameters('newSpeechKey')))]",
    }


def test_without_private_networking_there_is_no_network() -> None:
    """Nothing is billed without use."""
    kinds = {each["type"] for each in snapshot("default").resources}

    assert not {kind for kind in kinds if kind.startswith("Microsoft.Network/")}
    assert snapshot("default").app.get("virtualNetworkSubnetId") is None
    assert snapshot("default").outputs["BRIDGE_OUTBOUND_ADDRESS"] == ""


@pytest.mark.parametrize("kind", [ACCOUNT, VAULT])
def test_private_networking_closes_storage_and_vault(kind: str) -> None:
    """Only private endpoints have access then."""
    closed, opened = (snapshot(each).one(kind)["properties"] for each in ("private-network", "default"))

    assert (closed["publicNetworkAccess"], closed["networkAcls"]["defaultAction"]) == ("Disabled", "Deny")
    assert (opened["publicNetworkAccess"], opened["networkAcls"]["defaultAction"]) == ("Enabled", "Allow")


def test_private_endpoints_lead_to_storage_and_vault() -> None:
    """Each endpoint is in the endpoint subnet, with the DNS zone of the service."""
    evaluated = snapshot("private-network")
    endpoints = evaluated.of_type("Microsoft.Network/privateEndpoints").values()
    links = [each["properties"]["privateLinkServiceConnections"][0]["properties"] for each in endpoints]
    zones = list(evaluated.of_type("Microsoft.Network/privateDnsZones"))

    assert {(each["groupIds"][0], each["privateLinkServiceId"].split("/")[-2]) for each in links} == {
        ("blob", "storageAccounts"),
        ("queue", "storageAccounts"),
        ("table", "storageAccounts"),
        ("vault", "vaults"),
    }
    assert all(each["properties"]["subnet"]["id"].endswith("/subnets/endpoints") for each in endpoints)
    assert [zone.split("privatelink.")[1].partition(".")[0] for zone in zones] == [
        "blob",
        "queue",
        "table",
        "vaultcore",
    ]


def test_the_app_is_in_its_own_subnet_and_has_one_address() -> None:
    """The subnets split the range, and callbacks leave through the gateway."""
    evaluated = snapshot("private-network")
    subnets = {
        name.rpartition("/")[2]: each["properties"]
        for name, each in evaluated.of_type("Microsoft.Network/virtualNetworks/subnets").items()
    }
    [gateway] = evaluated.of_type("Microsoft.Network/natGateways").values()
    [address] = evaluated.of_type("Microsoft.Network/publicIPAddresses").values()

    assert {name: each["addressPrefix"] for name, each in subnets.items()} == {
        "app": "10.60.0.0/26",
        "endpoints": "10.60.0.64/26",
    }
    assert subnets["app"]["delegations"][0]["properties"] == {"serviceName": "Microsoft.App/environments"}
    assert subnets["app"]["natGateway"]["id"] == gateway["id"]
    assert gateway["properties"]["publicIpAddresses"] == [{"id": address["id"]}]
    assert evaluated.app["virtualNetworkSubnetId"].endswith("/subnets/app")
    assert address["id"] in evaluated.outputs["BRIDGE_OUTBOUND_ADDRESS"]


def rules(group: str) -> list[tuple[int, str, str, str, str]]:
    """Return the rules of a network security group, by priority."""
    found = snapshot("private-network").one("Microsoft.Network/networkSecurityGroups", group)
    properties = (each["properties"] for each in found["properties"]["securityRules"])
    return sorted(
        (
            each["priority"],
            each["access"],
            each["direction"],
            each["destinationAddressPrefix"],
            each["destinationPortRange"],
        )
        for each in properties
    )


def test_the_app_can_reach_endpoints_allowed_networks_and_the_internet() -> None:
    """This is a second check behind the app's own. IPv6 ranges are omitted, since the network is IPv4."""
    assert rules("-app") == [
        (100, "Allow", "Outbound", "10.60.0.64/26", "443"),
        (110, "Allow", "Outbound", "10.60.0.0/26", "*"),
        (200, "Allow", "Outbound", "10.7.0.0/16", "*"),
        (4000, "Deny", "Outbound", "VirtualNetwork", "*"),
    ]


def test_private_endpoints_accept_only_https() -> None:
    """Network rules apply to endpoints only with a setting of the subnet."""
    evaluated = snapshot("private-network")
    subnet = evaluated.one("Microsoft.Network/virtualNetworks/subnets", "/endpoints")["properties"]

    assert rules("-endpoints") == [
        (100, "Allow", "Inbound", "10.60.0.64/26", "443"),
        (4000, "Deny", "Inbound", "*", "*"),
    ]
    assert subnet["networkSecurityGroup"]["id"].endswith("-endpoints")
    assert subnet["privateEndpointNetworkPolicies"] == "NetworkSecurityGroupEnabled"
