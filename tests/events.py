"""The samples and schemas under `docs/events/`: each is what the code writes for the inputs here.

`python -m tests.events` writes them anew, for a change that only adds fields.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bridge.api.openapi import Schemas
from bridge.api.webhooks import ENDED, PINGED
from bridge.domain.events import Addressee, Format, Message, OperationCompleted, compose, ping
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.keyring import Keyring
from bridge.domain.operation import ExpiredReason, Explanation, FinalStatus
from bridge.domain.time import iso

FOLDER = Path(__file__).parent.parent / "docs" / "events"

#: The sentences of a description that are about one format.
ABOUT = {
    Format.STANDARD: "",
    Format.CLOUDEVENTS: "CloudEvents 1.0, structured mode, `application/cloudevents+json`. ",
}

#: The signing key of the signed request. A published key: no bridge may use it.
KEY = sha256(b"a key for tests of receivers").digest()

SIGNED_REQUEST = "signed-request.json"

OPERATION_ID = "06c7f835-e07b-4ac8-b33c-5b6df4a4eeef"
URL = "https://hooks.example.com/avatar"
REGISTERED = datetime(2026, 11, 23, 15, 4, 5, 123_000, tzinfo=UTC)
OBSERVED = REGISTERED + timedelta(minutes=5, seconds=35, milliseconds=881)


def completed(final_status: FinalStatus) -> OperationCompleted:
    """Tell how an operation ended; an `Expired` one was refused."""
    is_ours = final_status is FinalStatus.EXPIRED
    whys = {
        FinalStatus.FAILED: Explanation("InvalidInput", "The avatar is unknown."),
        FinalStatus.EXPIRED: Explanation("BadRequest", "The api-version is not supported."),
    }
    return OperationCompleted(
        final_status=final_status,
        path="avatar",
        observed_at=OBSERVED,
        not_before=None if is_ours else OBSERVED - timedelta(seconds=20, milliseconds=493),
        reason=ExpiredReason.REFUSED if is_ours else None,
        body=None if is_ours else json.dumps({"id": OPERATION_ID, "status": final_status.value}),
        why=whys.get(final_status),
    )


def message(final_status: FinalStatus, kind: Format = Format.STANDARD) -> Message:
    """Write what one receiver is told."""
    ref = RegistrationRef.of(OperationRef("default", OPERATION_ID), owner="shared", callback_url=URL)
    to = Addressee(ref=ref, owner="shared", callback_url=URL)
    return compose(completed(final_status), to, metadata='{"video":"intro"}', generation=REGISTERED, format=kind)


def samples() -> Iterator[tuple[str, Format, Message]]:
    """Make every sample: the name of its file, its format and its message."""
    for kind in Format:
        prefix = "" if kind is Format.STANDARD else f"{kind}."
        for final_status in FinalStatus:
            written = message(final_status, kind)
            yield f"{prefix}{written.type}.json", kind, written
        written = ping(callback_url=URL, owner="shared", now=OBSERVED, nonce="5b6df4a4eeef06c7", format=kind)
        yield f"{prefix}{written.type}.json", kind, written


def schema(kind: Format) -> dict[str, Any]:
    """Write the schema of a format: the models of the description's webhooks."""
    either: Any = ENDED[kind] | PINGED[kind]
    written = TypeAdapter(either).json_schema(schema_generator=Schemas)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A callback in the format `{kind}`",
        "description": f"{ABOUT[kind]}Fields are only ever added: accept those that you do not know.",
        "oneOf": written["anyOf"],
        "$defs": written["$defs"],
    }


def signed_request() -> dict[str, Any]:
    """Write a request that the tests of a receiver can verify: what arrives, the time, and what verifies it."""
    sample, keyring = message(FinalStatus.SUCCEEDED), Keyring((KEY,))
    data = json.loads(sample.body)["data"]
    headers = keyring.headers(sample.id, sample.body, owner="shared", origin=data["audience"], at=OBSERVED)
    return {
        "headers": {**headers, "Content-Type": Format.STANDARD.content_type},
        "body": sample.body.decode(),
        "receivedAt": iso(OBSERVED),
        "secret": keyring.secrets_for(owner="shared", origin=data["audience"])[0].reveal(),
        "publicKey": keyring.public_keys()[0].text,
        "audience": data["audience"],
        "subscriber": data["subscriber"],
    }


if __name__ == "__main__":
    for kind in Format:
        text = json.dumps(schema(kind), indent=2, ensure_ascii=False)
        (FOLDER / f"{kind}.schema.json").write_text(f"{text}\n", encoding="utf-8")
    text = json.dumps(signed_request(), indent=2, ensure_ascii=False)
    (FOLDER / SIGNED_REQUEST).write_text(f"{text}\n", encoding="utf-8")
    for name, _, sample in samples():
        text = json.dumps(json.loads(sample.body), indent=2, ensure_ascii=False)
        (FOLDER / name).write_text(f"{text}\n", encoding="utf-8")
