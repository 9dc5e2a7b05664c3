"""Ids, errors and states: the small rules that everything else leans on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from genpulse import errors
from genpulse.ids import is_id, new_id
from genpulse.schemas.deadletters import BulkRetry, DeadLetterFilter
from genpulse.schemas.generations import GenerationCreate, GenerationInput, StepCreate, StepRef
from genpulse.schemas.states import ENTERED_FROM, FINAL, GenerationStatus
from genpulse.schemas.webhooks import SecretRotation, WebhookUpdate
from genpulse.settings import Settings
from genpulse.submissions import fingerprint


def test_ids_sort_by_creation_and_are_unique() -> None:
    ids = [new_id("gen") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [one[:14] for one in ids] == sorted(one[:14] for one in ids)
    assert all(is_id("gen", one) for one in ids)


@pytest.mark.parametrize(
    "text", ["", "gen_", "ast_" + "0" * 26, "gen_" + "0" * 25, "gen_" + "u" * 26, "gen_" + "O" * 26]
)
def test_what_is_no_generation_id(text: str) -> None:
    assert not is_id("gen", text)


def test_an_error_without_code_or_status_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="needs a code and a status"):
        type("Vague", (errors.GenPulseError,), {})


def test_every_state_but_the_final_ones_leads_somewhere() -> None:
    left = {state for sources in ENTERED_FROM.values() for state in sources}
    assert left == set(GenerationStatus) - FINAL
    assert set(ENTERED_FROM) == set(GenerationStatus)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)))
def test_the_fingerprint_ignores_the_order_of_keys(body: dict[str, object]) -> None:
    assert fingerprint(body) == fingerprint(dict(reversed(list(body.items()))))
    assert fingerprint(body) != fingerprint(body | {"another": 1})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"steps": [{"id": "a", "operation": "text-to-image"}], "model": "a/b"}, "not both"),
        ({}, "give `model` or `operation`"),
        ({"model": "a/b", "surprise": 1}, "Extra inputs"),
        ({"model": "a/b", "input": {"image": {"path": "x"}}}, "give one of"),
        ({"model": "a/b", "input": {"image": {"asset": "ast_x"}}}, "String should match"),
    ],
)
def test_a_malformed_submission_is_refused(body: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerationCreate.model_validate(body)


def test_a_short_admin_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPULSE_SECURITY__ADMIN_KEY", "short")
    with pytest.raises(ValueError, match="GENPULSE_SECURITY__ADMIN_KEY needs 32"):
        Settings()


def test_nested_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPULSE_PROVIDERS__KLING__BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GENPULSE_ENGINE__MODELS", '{"mine": {"source": "a/b", "native": [1024, 1024]}}')
    settings = Settings()
    assert settings.providers["kling"].base_url == "http://127.0.0.1:9"
    assert settings.engine.models["mine"].native.width == 1024


# Types --------------------------------------------------------------------------------------------------------------

_OF_TYPE: dict[str, Any] = {"string": "7", "integer": 7, "number": 7.5, "boolean": True, "array": [], "object": {}}


def _documented(model: type[BaseModel]) -> dict[str, set[str]]:
    """The JSON types that the schema of a model gives for each field."""
    schema = model.model_json_schema()

    def types(node: dict[str, Any]) -> set[str]:
        if "$ref" in node:
            return types(schema["$defs"][node["$ref"].rpartition("/")[2]])
        own = {node["type"]} if "type" in node else set()
        return own.union(*(types(one) for one in node.get("anyOf", node.get("oneOf", []))))

    return {name: types(field) for name, field in schema["properties"].items()}


def _is_refused(model: type[BaseModel], name: str, value: Any) -> bool:
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        return any(one["loc"][:1] == (name,) for one in error.errors())
    return False


@pytest.mark.parametrize(
    "model",
    [
        GenerationInput,
        GenerationCreate,
        StepCreate,
        StepRef,
        DeadLetterFilter,
        BulkRetry,
        WebhookUpdate,
        SecretRotation,
    ],
)
def test_a_value_of_another_type_is_refused_and_not_converted(model: type[BaseModel]) -> None:
    taken = []
    for name, types in _documented(model).items():
        allowed = types | ({"integer"} if "number" in types else set())
        taken += [(name, one) for one in _OF_TYPE.keys() - allowed if not _is_refused(model, name, _OF_TYPE[one])]
    assert taken == []


@pytest.mark.parametrize("written", [64, 64.0])
def test_a_whole_number_may_be_written_with_a_point(written: float) -> None:
    assert GenerationInput.model_validate({"width": written}).width == 64
