"""Errors in words, and headers in meanings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.headers import ByteRange, byte_range, etag_matches, idempotency_key, request_id, wait_seconds
from api.problems import Occurrence, internal, invalid, problem_of
from genpulse.errors import InsufficientCredits, InvalidInput, MalformedRequest, RangeNotSatisfiable
from genpulse.schemas.generations import GenerationCreate

HERE = Occurrence("/v1/generations", "req_1")


def told(body: Any, model: type[BaseModel] = GenerationCreate) -> dict[str, str]:
    """Pointers and sentences of what is wrong with a body."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    return {one.pointer: one.detail for one in invalid(caught.value.errors(), HERE).errors}


def media(name: str, value: Any) -> dict[str, Any]:
    return {"model": "local/motion", "input": {name: value}}


def test_an_error_of_ours_becomes_a_problem():
    error = InvalidInput("`width` is at most 64.", field="steps.0.input.width", maximum=64)
    assert problem_of(error, HERE).model_dump() == {
        "type": "/docs/errors#invalid_input",
        "title": "Invalid input",
        "status": 422,
        "detail": "`width` is at most 64.",
        "instance": "/v1/generations",
        "code": "invalid_input",
        "request_id": "req_1",
        "errors": [{"pointer": "/steps/0/input/width", "detail": "`width` is at most 64."}],
        "details": {"maximum": 64},
    }


def test_an_error_without_a_field_names_none():
    problem = problem_of(InsufficientCredits("Not enough."), HERE)
    assert (problem.status, problem.title, problem.errors) == (402, "Insufficient credits", [])


def test_an_unexpected_error_tells_nothing():
    problem = internal(HERE)
    assert (problem.status, problem.code) == (500, "internal")


@pytest.mark.parametrize("form", [{"asset": 1}, {"url": 1}, {"data": 1}, {"step": 1}])
@pytest.mark.parametrize(
    ("name", "place"), [("image", ""), ("video", ""), ("mask", ""), ("audio", ""), ("reference_images", "/0")]
)
def test_names_of_union_members_are_no_part_of_the_pointer(form, name, place):
    key = next(iter(form))
    pointer = f"/input/{name}{place}/{key}"
    sentences = told(media(name, [form] if place else form))
    assert list(sentences) == [pointer]
    assert sentences[pointer].startswith(f"`{pointer[1:].replace('/', '.')}` must be a ")


def test_a_field_of_a_media_input_is_named():
    assert list(told(media("image", {"step": "a", "output": -1}))) == ["/input/image/output"]
    assert list(told(media("image", {"asset": "ast_" + "0" * 26, "url": "x"}))) == ["/input/image/url"]


@pytest.mark.parametrize("value", ["a.png", 5, {}, {"file": "a.png"}])
def test_a_media_input_of_no_form_hears_the_forms(value):
    assert "give one of" in told(media("audio", value))["/input/audio"]


@pytest.mark.parametrize(
    ("change", "pointer", "sentence"),
    [
        ({"deadline_seconds": 0}, "/deadline_seconds", "`deadline_seconds` must be at least 1."),
        ({"deadline_seconds": 10**9}, "/deadline_seconds", "`deadline_seconds` must be at most 604800."),
        (
            {"deadline_seconds": 1.5},
            "/deadline_seconds",
            "`deadline_seconds` must be a whole number, without quotes or a fraction.",
        ),
        ({"adapt": "perhaps"}, "/adapt", "`adapt` must be true or false."),
        ({"metadata": {"a": "x" * 513}}, "/metadata/a", "`metadata.a` has at most 512 characters; shorten it."),
        (
            {"metadata": {"x" * 65: ""}},
            "/metadata/" + "x" * 65,
            f"`metadata.{'x' * 65}` has at most 64 characters; shorten it.",
        ),
        ({"metadata": []}, "/metadata", "`metadata` must be an object."),
        ({"fallbacks": "x"}, "/fallbacks", "`fallbacks` must be a list."),
        ({"fallbacks": ["a/b"] * 9}, "/fallbacks", "`fallbacks` has at most 8 entries; this has 9."),
        ({"priority": "urgent"}, "/priority", "`priority` must be one of 'low', 'normal' or 'high'."),
        (
            {"webhook": {"url": "nonsense"}},
            "/webhook/url",
            "`webhook.url` must be a complete URL, for example https://example.com/picture.png.",
        ),
        ({"webhook": {}}, "/webhook/url", "`webhook.url` is required; add it."),
        ({"colour": 1}, "/colour", "`colour` is not known here; remove it or check its spelling."),
    ],
)
def test_a_sentence_says_what_would_be_right(change, pointer, sentence):
    assert told({"model": "local/shapes", **change}) == {pointer: sentence}


def test_an_error_type_without_a_sentence_keeps_pydantics():
    class Odd(BaseModel):
        value: complex

    assert told({"value": "x"}, Odd)["/value"].startswith("`value`: Input should be a valid")


def test_at_most_twenty_fields_are_told():
    with pytest.raises(ValidationError) as caught:
        GenerationCreate.model_validate({"model": "a/b"} | {f"x{number}": 1 for number in range(40)})
    problem = invalid(caught.value.errors(), HERE)
    assert len(problem.errors) == 20
    assert "39 more" in problem.detail


# Headers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=5", 5),
        ("wait=61", 60),
        ("wait=0", 0),
        ('wait="5"', 5),
        ("Wait = 7", 7),
        ("respond-async, wait=3", 3),
        ("wait=3; x=y", 3),
        ("wait=-3", 0),
        ("wait=3s", 0),
        ("wait", 0),
        ("await=3", 0),
        ("return=minimal", 0),
        ("wait=99999999999", 0),
    ],
)
def test_how_long_to_wait(given, seconds):
    assert wait_seconds(given) == seconds


@pytest.mark.parametrize(("given", "key"), [(None, None), ("a", "a"), ('"a"', "a"), ('"', '"'), ("x" * 255, "x" * 255)])
def test_an_idempotency_key(given, key):
    assert idempotency_key(given) == key


@pytest.mark.parametrize("given", ["", '""', " ", "a b", "ä", "\x7f", "x" * 256])
def test_no_idempotency_key(given):
    with pytest.raises(MalformedRequest, match="visible ASCII"):
        idempotency_key(given)


def test_a_request_id_is_made_where_none_is_given():
    assert request_id("abc") == "abc"
    assert request_id(None).startswith("req_")
    assert request_id("a\nb").startswith("req_")


@pytest.mark.parametrize(
    ("given", "size", "part"),
    [
        (None, 10, None),
        ("bytes=0-", 10, ByteRange(0, 10)),
        ("bytes=9-", 10, ByteRange(9, 10)),
        ("bytes=2-4", 10, ByteRange(2, 5)),
        ("bytes=2-40", 10, ByteRange(2, 10)),
        ("bytes=-3", 10, ByteRange(7, 10)),
        ("bytes=-30", 10, ByteRange(0, 10)),
        ("bytes=4-2", 10, None),
        ("bytes=1-2,4-5", 10, None),
        ("lines=1-2", 10, None),
    ],
)
def test_a_byte_range(given, size, part):
    assert byte_range(given, size) == part


@pytest.mark.parametrize(("given", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=11-12", 10)])
def test_a_byte_range_outside(given, size):
    with pytest.raises(RangeNotSatisfiable):
        byte_range(given, size)


@pytest.mark.parametrize(
    ("given", "matches"),
    [(None, False), ('"a"', True), ('"b", W/"a"', True), ("*", True), ('"ab"', False), ("", False)],
)
def test_an_etag_is_compared(given, matches):
    assert etag_matches(given, '"a"') is matches
