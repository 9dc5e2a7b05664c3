"""The socket on which the server tells a client of its runs: each thing once, to who listens at that moment."""

from __future__ import annotations

import asyncio
import json
import struct
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from genpulse.simulator.clouds.comfyui.nodes import steps_of
from genpulse.simulator.clouds.comfyui.runs import (
    Moment,
    last_message,
    moment_of,
    nodes_of,
    outputs_of,
    states_of,
)
from genpulse.simulator.core import Simulator
from genpulse.simulator.jobs import Job, State
from genpulse.simulator.media import Format, Media, render

_LOOK_SECONDS = 0.02
_PLAIN, _WITH_METADATA, _PNG = 1, 4, 2  # kinds of previews, and a format
FEATURES = {"supports_preview_metadata": True, "max_upload_size": 100 * 2**20}


@dataclass
class _Listener:
    """One client: how far each of its runs has been told (those that have ended with nothing), and in which form."""

    socket: WebSocket
    told: dict[str, Moment | None] = field(default_factory=dict)
    wants_metadata: bool = False

    async def send(self, name: str, data: dict[str, Any]) -> None:
        await self.socket.send_json({"type": name, "data": data})


class Teller:
    """Serves sockets. A later one under the same id takes the place of an earlier one."""

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self._latest: dict[str, _Listener] = {}

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        client = socket.query_params.get("clientId") or uuid.uuid4().hex
        listener = self._latest[client] = _Listener(socket)
        telling = asyncio.create_task(self._tell(listener, client))
        try:
            while True:
                await _hear(listener, await socket.receive_json())
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            telling.cancel()

    async def _tell(self, listener: _Listener, client: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            left = {"status": {"exec_info": {"queue_remaining": 0}}}
            await listener.send("status", left | {"sid": client})
            await self._begin(listener, client)
            while self._latest[client] is listener:
                for job in self._of(client):
                    if job.state is not State.QUEUED and listener.told.get(job.id, ...) is not None:
                        listener.told[job.id] = await self._go_on(listener, job)
                await asyncio.sleep(_LOOK_SECONDS)

    async def _begin(self, listener: _Listener, client: str) -> None:
        """Of what was missed only the node that is at work is told, and not of which run."""
        for job in self._of(client):
            if job.state is State.RUNNING:
                listener.told[job.id] = moment = moment_of(job, self._world.clock.now())
                await listener.send("executing", {"node": moment.node})
            elif job.state.ended:
                listener.told[job.id] = None

    def _of(self, client: str) -> list[Job]:
        return [job for job in self._world.find_jobs(cloud="comfyui") if job.extra.get("client") == client]

    async def _go_on(self, listener: _Listener, job: Job) -> Moment | None:
        """Tell what has changed since; of a run that has ended, all that is left."""
        before = listener.told.get(job.id)
        stamp = {"prompt_id": job.id, "timestamp": int(self._world.clock.now() * 1000)}
        if before is None:
            cached = list(nodes_of(job)) if "cached" in job.extra else []
            await listener.send("execution_start", stamp)
            await listener.send("execution_cached", {"nodes": cached, **stamp})
        if job.state.ended:
            await _tell_end(listener, job, stamp)
            return None
        moment = moment_of(job, self._world.clock.now())
        if moment != before:
            await _tell_moment(listener, job, moment, is_new=before is None or before.node != moment.node)
        return moment


async def _hear(listener: _Listener, message: dict[str, Any]) -> None:
    """The one thing that a client may say: what it understands."""
    if message.get("type") == "feature_flags":
        listener.wants_metadata = bool(message.get("data", {}).get("supports_preview_metadata"))
        await listener.send("feature_flags", FEATURES)


async def _tell_moment(listener: _Listener, job: Job, moment: Moment, *, is_new: bool) -> None:
    await listener.send("progress_state", {"prompt_id": job.id, "nodes": states_of(job, moment)})
    if is_new:
        where = {"node": moment.node, "display_node": moment.node, "prompt_id": job.id}
        await listener.send("executing", where)
    steps = steps_of(job.body["prompt"][moment.node])
    if steps > 1:
        step = {"value": moment.value, "max": steps, "prompt_id": job.id, "node": moment.node}
        await listener.send("progress", step)
        await listener.socket.send_bytes(_preview(job, moment, with_metadata=listener.wants_metadata))


def _preview(job: Job, moment: Moment, *, with_metadata: bool) -> bytes:
    picture = render(Media(Format.PNG, 16, 16))
    if not with_metadata:
        return struct.pack(">II", _PLAIN, _PNG) + picture
    about = json.dumps({"node_id": moment.node, "prompt_id": job.id, "image_type": "image/png"}).encode()
    return struct.pack(">II", _WITH_METADATA, len(about)) + about + picture


async def _tell_end(listener: _Listener, job: Job, stamp: dict[str, Any]) -> None:
    for key, output in outputs_of(job).items() if job.state is State.SUCCEEDED else ():
        await listener.send("executed", {"node": key, "display_node": key, "output": output, **stamp})
    name, told = last_message(job, job.state, stamp)
    await listener.send(name, told)
    await listener.send("executing", {"node": None, "prompt_id": job.id})
