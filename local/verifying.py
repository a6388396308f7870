"""Verification of received callbacks, with the signing secret that the API returns."""

import threading
from collections.abc import Mapping

import requests
from standardwebhooks import Webhook, WebhookVerificationError

from local.receiver import Callback

#: Seconds that the API has to return a secret.
_TIMEOUT = 5.0


class Verifier:
    """Verifies callbacks. Each secret is read once from `{api}/signing-secret`."""

    def __init__(self, api: str, key: str | None) -> None:
        self._api = api
        self._headers: Mapping[str, str] = {"x-functions-key": key} if key else {}
        self._lock = threading.Lock()
        self._secrets: dict[str, str] = {}

    def verdict(self, callback: Callback) -> str:
        """Return the verdict on the signature, or the reason for none. Returns an empty text without a signature."""
        if "webhook-signature" not in callback.headers:
            return ""
        try:
            secret = self._secret(str(callback.content["data"]["audience"]))  # type: ignore[index,call-overload]
        except (ValueError, LookupError, TypeError, requests.RequestException) as error:
            return f"signature not checked: {type(error).__name__}"
        try:
            Webhook(secret).verify(callback.body, callback.headers)
        except WebhookVerificationError as error:
            return f"WRONG SIGNATURE: {error}"
        return "signature verified"

    def _secret(self, audience: str) -> str:
        with self._lock:
            known = self._secrets.get(audience)
        if known is None:
            answer = requests.get(
                f"{self._api}/signing-secret",
                params={"callbackUrl": audience},
                headers=self._headers,
                timeout=_TIMEOUT,
            )
            answer.raise_for_status()
            known = str(answer.json()["signingSecret"])
            with self._lock:
                self._secrets[audience] = known
        return known
