"""Rows in the words of an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from genpulse.links import content_path, poster_path
from genpulse.models import AssetRow, AttemptRow, EventRow, GenerationRow, StepRow
from genpulse.schemas.states import GenerationStatus, MediaKind, Operation, Priority, StepStatus
from genpulse.settings import TemporalSettings
from genpulse.signing import LinkSigner, SigningKey
from genpulse.views import Parts, Views

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SIGNER = LinkSigner(SigningKey("1", b"k" * 32))
FAULT = {"code": "internal", "message": "no", "retryable": False, "provider": None, "details": {}}


def views(**temporal: Any) -> Views:
    return Views(
        base_url="https://api.test/base",
        signer=SIGNER,
        expires_at=NOW + timedelta(hours=1),
        temporal=TemporalSettings(**temporal),
    )


def generation(**values: Any) -> GenerationRow:
    given: dict[str, Any] = {
        "id": "gen_1",
        "tenant_id": "default",
        "status": GenerationStatus.RUNNING,
        "operation": Operation.IMAGE_TO_VIDEO,
        "model": "local/motion",
        "priority": Priority.NORMAL,
        "request": {"input": {"prompt": "secret"}},
        "adaptions": [],
        "labels": {"order": "42"},
        "request_id": "req_1",
        "created_at": NOW,
        "deadline_at": NOW,
    }
    return GenerationRow(**(given | values))


def step(position: int, **values: Any) -> StepRow:
    given: dict[str, Any] = {
        "generation_id": "gen_1",
        "position": position,
        "step_id": f"s{position}",
        "operation": Operation.TEXT_TO_IMAGE,
        "model": "local/shapes",
        "queue": "q",
        "status": StepStatus.SUCCEEDED,
        "input": {},
        "provider_options": {},
    }
    return StepRow(**(given | values))


def attempt(position: int, number: int, **values: Any) -> AttemptRow:
    given: dict[str, Any] = {"provider": "local", "model": "shapes", "status": "succeeded", "started_at": NOW}
    return AttemptRow(generation_id="gen_1", position=position, number=number, **(given | values))


def asset(number: int, position: int | None = None, **values: Any) -> AssetRow:
    given: dict[str, Any] = {
        "id": f"ast_{number}",
        "tenant_id": "default",
        "sha256": "0" * 64,
        "kind": MediaKind.IMAGE,
        "media_type": "image/png",
        "bytes": 1,
        "generation_id": "gen_1",
        "position": position,
        "created_at": NOW,
    }
    return AssetRow(**(given | values))


def test_attempts_and_outputs_go_to_their_steps_and_the_last_outputs_to_the_front():
    parts = Parts(
        steps=[step(0), step(1)],
        attempts=[attempt(0, 1, status="failed", error=FAULT), attempt(0, 2), attempt(1, 1)],
        outputs=[asset(1, 0), asset(2, 1), asset(3, 1)],
    )
    answer = views().generation(generation(), parts)
    assert [[one.number for one in each.attempts] for each in answer.steps] == [[1, 2], [1]]
    assert answer.steps[0].attempts[0].error is not None
    assert answer.steps[0].attempts[0].error.code == "internal"
    assert [[one.id for one in each.outputs] for each in answer.steps] == [["ast_1"], ["ast_2", "ast_3"]]
    assert [one.id for one in answer.outputs] == ["ast_2", "ast_3"]


def test_an_earlier_steps_outputs_are_not_the_generations():
    parts = Parts(steps=[step(0), step(1, status=StepStatus.FAILED, error=FAULT)], outputs=[asset(1, 0)])
    answer = views().generation(generation(error=FAULT), parts)
    assert answer.outputs == []
    assert answer.error is not None
    assert answer.steps[1].error == answer.error


def test_prompts_and_ids_of_others_stay_inside():
    text = (
        views()
        .generation(generation(traceparent="00-a-b-01"), Parts([step(0, input={"prompt": "secret"})]))
        .model_dump_json()
    )
    assert "secret" not in text
    assert "req_1" not in text
    assert "00-a-b-01" not in text


@pytest.mark.parametrize(
    ("ui_url", "link"),
    [
        ("", None),
        ("http://ui.test", "http://ui.test/namespaces/ns/workflows/gen_1"),
        ("http://ui.test/", "http://ui.test/namespaces/ns/workflows/gen_1"),
    ],
)
def test_the_workflow_is_linked_where_there_is_a_user_interface(ui_url, link):
    answer = views(ui_url=ui_url, namespace="ns").generation(generation(), Parts([step(0)]))
    assert answer.links.temporal == link
    assert answer.links.self == "https://api.test/base/v1/generations/gen_1"


def test_links_to_files_are_signed_for_their_own_path_without_the_base():
    answer = views().asset(asset(1, kind=MediaKind.VIDEO, media_type="video/mp4", poster_sha256="1" * 64))
    for url, path in [(answer.url, content_path("ast_1")), (answer.poster_url, poster_path("ast_1"))]:
        assert url is not None
        address, _, query = url.partition("?")
        assert address == f"https://api.test/base{path}"
        SIGNER.verify(path, dict(one.split("=") for one in query.split("&")), now=NOW)


def test_an_output_event_gets_a_link_and_others_stay_as_they_are():
    data = {"step": "main", "asset": {"id": "ast_1", "kind": "image"}}
    row = EventRow(generation_id="gen_1", seq=1, type="output", data=data, created_at=NOW)
    shown = views().event(row)
    assert shown["asset"]["url"].startswith("https://api.test/base/v1/assets/ast_1/content?expires=")
    assert "url" not in row.data["asset"]
    other = EventRow(generation_id="gen_1", seq=2, type="status", data={"status": "running"}, created_at=NOW)
    assert views().event(other) == {"status": "running"}
