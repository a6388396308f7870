"""The response models: built from records, written as JSON."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.api import responses
from bridge.api.responses import Moment, Response

THREADS = 16


@dataclass(frozen=True, slots=True)
class Record:
    first_name: str
    seen_at: datetime | None
    hidden: str = "secret"


def model() -> type[Response]:
    """Return a model that is not built yet."""

    class Sample(Response):
        first_name: str
        seen_at: Moment | None
        more: list[int]

    return Sample


def test_model_reads_the_fields_that_it_names_from_a_record() -> None:
    shown = model().of(Record("Ann", datetime(2026, 11, 23, 12, 0, 0, 4_000, tzinfo=UTC)), more=[1, 2])

    assert json.loads(shown.text()) == {"firstName": "Ann", "seenAt": "2026-11-23T12:00:00.004Z", "more": [1, 2]}


def test_given_value_overrides_the_one_of_the_record() -> None:
    shown = model().of(Record("Ann", None), first_name="Bob", more=[])

    assert json.loads(shown.text())["firstName"] == "Bob"


def test_field_that_is_null_stays() -> None:
    assert json.loads(model().of(Record("Ann", None), more=[]).text())["seenAt"] is None


def test_client_data_keeps_every_digit_of_a_whole_number() -> None:
    class Held(Response):
        metadata: dict[str, Any]

    held = Held(metadata={"number": 10**40, "text": "Grüße"})

    assert held.text() == f'{{"metadata": {{"number": {10**40}, "text": "Grüße"}}}}'


def test_first_use_of_a_model_by_several_threads_works() -> None:
    """Models are built at their first use, and the host runs requests in threads."""
    shown, barrier = model(), threading.Barrier(THREADS)

    def use(number: int) -> str:
        barrier.wait(60)
        return shown(first_name=str(number), seen_at=None, more=[]).text()

    with ThreadPoolExecutor(THREADS) as pool:
        texts = list(pool.map(use, range(THREADS)))

    assert [json.loads(text)["firstName"] for text in texts] == [str(number) for number in range(THREADS)]


def test_no_model_is_built_by_its_import() -> None:
    """A cold start does not wait for models."""
    models = [each for each in vars(responses).values() if isinstance(each, type) and issubclass(each, Response)]

    assert len(models) > 30
    assert all(each.model_config["defer_build"] for each in models)
