"""Keys: their form, what a typo does to it, what is stored of them, and how models are allowed."""

from __future__ import annotations

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpulse.keys import _ALPHABET, _checksum, digest, is_well_formed, new_key, shown_parts
from genpulse.redaction import Redactor
from genpulse.schemas.tenants import ALL_MODELS, AllowedModels

#: Fixed for ever: what was given out has to be known again.
KEYS = [
    "gp_live_000000000000000000000000000000001ZIGxr",
    "gp_live_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz04WQGT",
    "gp_live_Kq7mZ2xW9vB4nT6yR1sD8fG3hJ5kL0pQ4fSlG9",
]

bodies = st.text(_ALPHABET, min_size=32, max_size=32).map(lambda text: f"gp_live_{text}")
keys = bodies.map(lambda body: body + _checksum(body))


@pytest.mark.parametrize("key", KEYS)
def test_vectors(key: str) -> None:
    assert is_well_formed(key)


def test_a_new_key_is_well_formed_and_nobody_elses() -> None:
    made = [new_key() for _ in range(100)]
    assert all(re.fullmatch(r"gp_live_[0-9A-Za-z]{38}", key) and is_well_formed(key) for key in made)
    assert len({key[8:40] for key in made}) == 100


@given(keys, st.integers(0, 45), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_wrong_character_is_noticed(key: str, place: int, wrong: str) -> None:
    typed = key[:place] + wrong + key[place + 1 :]
    assert is_well_formed(typed) is (typed == key)


@given(keys, st.integers(0, 44))
def test_neighbours_that_changed_places_are_noticed(key: str, place: int) -> None:
    typed = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert is_well_formed(typed) is (typed == key)


@given(keys, st.integers(0, 46), st.text(min_size=1, max_size=3))
def test_more_or_less_is_noticed(key: str, place: int, more: str) -> None:
    assert not is_well_formed(key[:place] + more + key[place:])
    assert not is_well_formed(key[:place] + key[place + 1 :]) or place == 46


def test_no_two_neighbours_at_the_border_of_the_checksum_can_change_places_unnoticed() -> None:
    """There the proof about CRCs ends, so all cases are tried: the difference that it makes cannot be made up for."""
    for last in _ALPHABET:
        for first in "01234":  # of six digits to the base 62, below 2**32
            changed = _crc(last) ^ _crc(first)
            difference = (_ALPHABET.index(last) - _ALPHABET.index(first)) * 62**5
            # a ^ changed == a + difference for some a: the bits that are set make up half of the sum
            half, rest = divmod(difference + changed, 2)
            assert last == first or rest or half & ~changed


def _crc(character: str) -> int:
    return zlib.crc32(character.encode())


@pytest.mark.parametrize("text", ["", "gp_live_", "gp_test_" + "0" * 38, "é" * 46, "gp_live_" + "٣" * 38])
def test_anything_else_is_no_key(text: str) -> None:
    assert not is_well_formed(text)


def test_what_is_stored_depends_on_the_servers_key() -> None:
    key = new_key()
    assert digest(key, b"a" * 32) == digest(key, b"a" * 32)
    assert re.fullmatch(r"[0-9a-f]{64}", digest(key, b"a" * 32))
    assert digest(key, b"a" * 32) != digest(key, b"b" * 32)


def test_what_is_shown_says_little() -> None:
    key = new_key()
    before, after = shown_parts(key)
    assert (len(before), len(after)) == (12, 4)
    assert key.startswith(before) and key.endswith(after)


def test_a_key_is_never_logged() -> None:
    key = new_key()
    assert key not in Redactor().text(f"refused {key} today")


# Models -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        (["kling/*"], "kling/kling-3.0", True),
        (["kling/*"], "xkling/kling-3.0", False),
        (["kling/*"], "kling", False),
        (["kling/kling-3.0"], "kling/kling-3.0", True),
        (["kling/kling-3.0"], "kling/kling-3x0", False),
        (["kling/kling-3"], "kling/kling-3.0", False),
        (["*/*-pro", "local/*"], "fal/flux-pro", True),
        (["*/*-pro", "local/*"], "local/shapes", True),
        (["KLING/*"], "kling/kling-3.0", False),
        (["*"], "kling/kling-3.0", True),
        (None, "kling/kling-3.0", True),
    ],
)
def test_patterns_stand_for_whole_ids(patterns: list[str] | None, model: str, allowed: bool) -> None:
    assert (model in AllowedModels(patterns)) is allowed


def test_every_list_has_to_allow_a_model() -> None:
    both = AllowedModels(["kling/*", "local/*"], ["*/kling-3.0"])
    assert "kling/kling-3.0" in both
    assert "local/shapes" not in both
    assert "fal/kling-3.0" not in both
    assert not both.are_all and ALL_MODELS.are_all


patterns = st.lists(st.sampled_from(["a", "b", "/", "*"]), min_size=1, max_size=6).map("".join)
ids = st.text("ab/", max_size=7)


@given(st.lists(patterns, min_size=1, max_size=3), patterns, ids)
def test_what_is_covered_allows_nothing_more(wide: list[str], narrow: str, model: str) -> None:
    if AllowedModels(wide).cover([narrow]) and model in AllowedModels([narrow]):
        assert model in AllowedModels(wide)
