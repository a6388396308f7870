"""Valid issuers of a token, by the cloud of the tenant."""

import pytest

from bridge.domain.principal import Tenant

ID = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("authority", "first_version"),
    [
        ("https://login.microsoftonline.com", "https://sts.windows.net"),
        ("https://login.microsoftonline.us", "https://sts.windows.net"),
        ("https://login.chinacloudapi.cn", "https://sts.chinacloudapi.cn"),
        ("https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn"),
    ],
)
def test_a_tenant_has_the_issuers_of_its_cloud(authority: str, first_version: str) -> None:
    tenant = Tenant(id=ID, audience="an-audience", authority=authority)

    assert tenant.issuers == (f"{authority}/{ID}/v2.0", f"{first_version}/{ID}/")
