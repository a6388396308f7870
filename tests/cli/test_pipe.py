"""A reader that ends early: the command ends in silence, with a code that claims no outcome."""

import os
import subprocess
import sys

import pytest

from local.settings import REPOSITORY
from tests.support.fake_bridge import FakeBridge, registration

ID = "default~operation-1~0123456789abcdef"
LINK = "http://inside.example:8080/api/registrations?limit=100&cursor=c1"


def cut(fake: FakeBridge, *arguments: str) -> tuple[int, bytes]:
    """Run a command whose reader has ended. Returns exit code and errors."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bridge.cli", *arguments],
            cwd=REPOSITORY,
            env=fake.environment,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [("list", "--all"), ("list", "--json"), ("show", ID)])
def test_a_command_that_only_shows_ends_well(fake: FakeBridge, arguments: tuple[str, ...]) -> None:
    fake.script("GET registrations", (200, {"value": [registration()], "nextLink": LINK}))
    fake.script(f"GET registrations/{ID}", (200, registration()))

    done = cut(fake, *arguments)

    assert done == (0, b"")
    assert len(fake.calls) <= 1 + ("--json" in arguments) * 50  # no page is read for a reader that has gone


def test_a_command_with_an_outcome_claims_none(fake: FakeBridge) -> None:
    fake.script(f"GET registrations/{ID}", (200, registration()))

    assert cut(fake, "watch", ID) == (141, b"")
