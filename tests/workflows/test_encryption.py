"""With a key, Temporal keeps nothing that it could read: in success, in failure, and while keys change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from genpulse.codec import Undecodable
from genpulse.errors import MediaRejected
from genpulse.schemas.engine import EngineTask, OnProgress
from genpulse.schemas.plans import GenerationResult
from genpulse.settings import TemporalSettings
from genpulse.temporal import connect, data_converter
from tests.servers.temporal import TemporalServer, temporal_server
from tests.workflows.conftest import House
from workflows.generation import GenerationWorkflow

OLD, NEW = "the-former-key-of-32-characters-and-more", "the-present-key-of-32-characters-and-more"
SENTENCE = "a sentence that nobody else would say"
_NOTED = {
    "seq",
    "attempt",
    "activity_id",
    "activity_type",
    "complete_time",
    "backoff",
    "original_schedule_time",
    "activation_index",
}


def settings(server: TemporalServer, key: str | None = OLD, *retired: str) -> TemporalSettings:
    return TemporalSettings(
        address=server.address,
        encryption_key=SecretStr(key) if key else None,
        retired_keys=tuple(SecretStr(one) for one in retired),
    )


@pytest.fixture(scope="module")
def server() -> Iterator[TemporalServer]:
    with temporal_server() as running:
        yield running


@pytest.fixture
def keys() -> tuple[str, ...]:
    """The key of the worker, and those that it only reads with."""
    return (OLD,)


@pytest.fixture
async def temporal(server: TemporalServer, keys: tuple[str, ...]) -> WorkflowEnvironment:
    """What `house` works with: a server that encrypts nothing by itself, and a client that does."""
    return WorkflowEnvironment.from_client(await connect(settings(server, *keys)))


@pytest.fixture
async def stranger(server: TemporalServer) -> Client:
    """Whoever gets at Temporal without a key."""
    return await connect(settings(server, None))


def payloads(message: Message) -> Iterator[Payload]:
    """Every payload within, but for search attributes, which Temporal has to read."""
    if isinstance(message, Payload):
        yield message
    elif not isinstance(message, SearchAttributes):
        for field, value in message.ListFields():
            if field.message_type is not None:
                parts: Any = [value] if not field.is_repeated else value
                if field.message_type.GetOptions().map_entry:
                    parts = [one for one in value.values() if isinstance(one, Message)]
                for part in parts:
                    yield from payloads(part)


async def raw(stranger: Client, generation_id: str) -> tuple[list[Payload], str]:
    """What Temporal keeps of a generation: its payloads, and all of it as text."""
    history = await stranger.get_workflow_handle(generation_id).fetch_history()
    kept = [one for event in history.events for one in payloads(event)]
    return [one for one in kept if not _is_of_the_sdk(one)], history.to_json()


def _is_of_the_sdk(payload: Payload) -> bool:
    """What the SDK notes of a local activity beside its result: which, and when."""
    if payload.metadata["encoding"] != b"json/plain":
        return False
    noted = json.loads(payload.data)
    return isinstance(noted, dict) and noted.keys() == _NOTED


def refuse(_task: EngineTask, _on_progress: OnProgress) -> None:
    raise MediaRejected(SENTENCE)


async def test_every_payload_of_a_generation_is_encrypted(house: House, stranger: Client) -> None:
    generation_id, result = await house.run()
    kept, text = await raw(stranger, generation_id)
    assert kept
    assert {one.metadata["encoding"] for one in kept} == {b"binary/encrypted"}
    for readable in (result.outputs[0], "deadline_at", "tenant_id", "local/fake"):
        assert readable not in text
        assert not any(readable.encode() in one.SerializeToString() for one in kept)
    decoded = await codec_of(house).decode(kept)
    assert any(b"deadline_at" in one.data for one in decoded)
    assert any(result.outputs[0].encode() in one.data for one in decoded)


async def test_what_failed_and_where_is_encrypted(house: House, stranger: Client) -> None:
    house.engine.behaviour.append(refuse)
    ticket = await house.accept()
    handle = await house.start(ticket)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert SENTENCE in str(caught.value.cause), "who has the key reads it"
    kept, text = await raw(stranger, ticket.generation_id)
    assert {one.metadata["encoding"] for one in kept} == {b"binary/encrypted"}
    for readable in (SENTENCE, "Traceback", "activities/engine.py"):
        assert readable not in text
    assert "Encoded failure" in text


async def test_an_encrypted_history_can_be_replayed(house: House, server: TemporalServer) -> None:
    generation_id, _ = await house.run()
    history = await house.environment.client.get_workflow_handle(generation_id).fetch_history()
    replayer = Replayer(workflows=[GenerationWorkflow], data_converter=data_converter(settings(server)))
    result = await replayer.replay_workflow(history)
    assert result.replay_failure is None


@pytest.mark.parametrize("keys", [(NEW, OLD)])
@pytest.mark.parametrize("began_with", [OLD, NEW, None])
async def test_what_began_under_another_key_goes_on(
    house: House, server: TemporalServer, began_with: str | None
) -> None:
    starter = await connect(settings(server, began_with))
    ticket = await house.accept()
    handle = await starter.start_workflow(
        GenerationWorkflow.run, ticket, id=ticket.generation_id, task_queue=f"{house.queue}-workflows"
    )
    reader: WorkflowHandle[GenerationWorkflow, GenerationResult] = house.environment.client.get_workflow_handle_for(
        GenerationWorkflow.run, handle.id
    )
    assert (await reader.result()).outputs


@pytest.mark.parametrize("keys", [(NEW,)])
async def test_a_worker_with_a_wrong_key_says_so_and_harms_nothing(house: House, server: TemporalServer) -> None:
    starter = await connect(settings(server, OLD))
    ticket = await house.accept()
    handle = await starter.start_workflow(
        GenerationWorkflow.run, ticket, id=ticket.generation_id, task_queue=f"{house.queue}-workflows"
    )
    await until_true(lambda: _told_of_the_key(house, ticket.generation_id))
    described = await handle.describe()
    assert described.status is not None and described.status.name == "RUNNING", "it waits for the right key"


async def test_a_reader_with_a_wrong_key_is_told_which_one(house: House, server: TemporalServer) -> None:
    generation_id, _ = await house.run()
    reader = await connect(settings(server, NEW))
    with pytest.raises(Undecodable, match="GENPULSE_TEMPORAL__RETIRED_KEYS"):
        await reader.get_workflow_handle(generation_id).result()


async def _told_of_the_key(house: House, generation_id: str) -> bool:
    """Whether the history says what is missing; encrypted, under the key of the worker that failed."""
    history = await house.environment.client.get_workflow_handle(generation_id).fetch_history()
    failed = [event for event in history.events if event.HasField("workflow_task_failed_event_attributes")]
    opened = await codec_of(house).decode([one for event in failed for one in payloads(event)])
    return any(b"GENPULSE_TEMPORAL__ENCRYPTION_KEY" in one.data for one in opened)


async def until_true(look: Callable[[], Any], seconds: float = 60) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await look():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true"
        await asyncio.sleep(0.1)


def codec_of(house: House) -> Any:
    return house.environment.client.data_converter.payload_codec
