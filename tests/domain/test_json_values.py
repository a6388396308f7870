"""Comparison and size of JSON values."""

import pytest

from bridge.domain.text import same_json, size_in_utf8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, None),
        ("{}", "{ }"),
        ('{"a":1}', '{"a":1.0}'),
        ('{"a":100}', '{"a":1e2}'),
        ('{"a":0}', '{"a":-0.0}'),
        ('{"a":[1,{"b":2}]}', '{"a":[1.0,{"b":2e0}]}'),
        ('{"a":1,"b":2}', '{"b":2,"a":1}'),
        ('{"a":"\\u00e9"}', '{"a":"é"}'),
        ('{"a":12345678901234567890}', '{"a":12345678901234567890}'),
    ],
)
def test_the_same_value_written_differently_is_the_same(one: str | None, other: str | None) -> None:
    assert same_json(one, other)
    assert same_json(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, "{}"),
        ('{"a":1}', '{"a":true}'),
        ('{"a":0}', '{"a":false}'),
        ('{"a":[1]}', '{"a":[true]}'),
        ('{"a":1}', '{"a":"1"}'),
        ('{"a":null}', "{}"),
        ('{"a":[1,2]}', '{"a":[2,1]}'),
        ('{"a":[]}', '{"a":{}}'),
        ('{"a":[1]}', '{"a":[1,1]}'),
        ('{"a":"é"}', '{"a":"e\u0301"}'),
        ('{"a":12345678901234567890}', '{"a":12345678901234567891}'),
        ('{"a":9007199254740993}', '{"a":9007199254740992.0}'),
    ],
)
def test_another_value_is_not_the_same(one: str | None, other: str | None) -> None:
    assert not same_json(one, other)
    assert not same_json(other, one)


def test_sizes_are_bytes_of_utf8() -> None:
    assert size_in_utf8({"a": "中"}) == len('{"a":"中"}'.encode())


def test_a_number_that_json_cannot_carry_has_no_size() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        size_in_utf8({"a": float("inf")})
