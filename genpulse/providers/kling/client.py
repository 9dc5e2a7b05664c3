"""Kling's client: one task per call, found again by our own id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
from pydantic import SecretStr

from genpulse.errors import InvalidInput, JobMissing, OutcomeUnknown, ProviderRejected
from genpulse.media import MediaLimits, probe
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.kling.answers import Answered, Faces, Task, V1Task, refuse
from genpulse.providers.kling.bodies import FaceChoice, FaceSearchBody, LipSyncBody
from genpulse.providers.kling.model import Form, ModelWire, path_of
from genpulse.providers.kling.requests import body_of, check_sound, finished, inline, video_url
from genpulse.providers.signatures import BearerKey, KlingSigner, SignedAuth, Signer, StandardWebhookVerifier
from genpulse.providers.wire import Wire

#: Of the sound of a lip-sync; it is no picture.
_SOUND_LIMITS = MediaLimits(max_bytes=5 * 2**20, max_pixels=1, max_frames=1, max_seconds=60)
#: Options of a lip-sync that belong to the face that speaks.
_OF_FACE = tuple(FaceChoice.model_fields)


class Kling(Provider):
    """Has no idempotency key; a call whose answer was lost is found by the external id that went with it.

    Speech alone comes with the answer, without a task that could be found.
    """

    name: ClassVar[str] = "kling"
    default_url: ClassVar[str] = "https://api-singapore.klingai.com"

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        auth = SignedAuth(_signer(credentials), now)
        self._callbacks = StandardWebhookVerifier.of(credentials.webhook_secret)
        self._wire = Wire(self.name, base_url or self.default_url, client, auth=auth, refuse=refuse)

    async def submit(self, call: ModelCall) -> Job | Finished:
        wire = ModelWire.model_validate(call.wire)
        path = path_of(call, wire)
        body = await self._lip_sync(call, wire) if wire.form is Form.LIP_SYNC else body_of(call, wire)
        if wire.is_new:
            task = await self._wire.pay("POST", path, Answered[Task], json=body)
            return Job(id=task.data.id)
        made = await self._wire.pay("POST", path, Answered[V1Task], json=body)
        if wire.form is Form.SPEECH:
            return _spoken(made.data)
        return Job(id=made.data.task_id, handle={"path": path})

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        path = job.handle.get("path")
        if path is not None:
            return (await self._wire.ask("GET", f"{path}/{job.id}", Answered[V1Task])).data.state()
        task = await self._task(task_ids=job.id)
        if task is None:
            raise JobMissing(f"kling does not know task {job.id}.")
        return task.state()

    def can_find(self, call: ModelCall) -> bool:
        return ModelWire.model_validate(call.wire).form is not Form.SPEECH

    async def find(self, call: ModelCall, *, sent_at: datetime) -> Job | None:  # noqa: ARG002
        wire = ModelWire.model_validate(call.wire)
        if wire.is_new:
            task = await self._task(external_task_ids=call.key)
            return None if task is None else Job(id=task.id)
        path = path_of(call, wire)
        try:
            made = await self._wire.ask("GET", f"{path}/{call.key}", Answered[V1Task])
        except (JobMissing, ProviderRejected):  # which of the two an unknown id is, is not known
            return None
        return Job(id=made.data.task_id, handle={"path": path})

    async def verify_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        if self._callbacks is not None:
            self._callbacks.verify(headers, body, now=now)

    async def _task(self, **ids: str) -> Task | None:
        found = await self._wire.ask("GET", "/tasks", Answered[list[Task]], params=ids)
        return found.data[0] if found.data else None

    async def _lip_sync(self, call: ModelCall, wire: ModelWire) -> dict[str, Any]:
        """The faces of the video first, then what the first of them says; the search may be billed too."""
        video = call.one("video")
        searched = FaceSearchBody(
            video_id=call.options.get("video_id"), video_url=None if video is None else video_url(video)
        )
        if searched.video_id is None and searched.video_url is None:
            raise InvalidInput("Give `video`, or `video_id` of an earlier result as an option.", field="input.video")
        check_sound(call)
        sound = await asyncio.to_thread(_sound, call)
        answer = await self._wire.pay("POST", "/v1/videos/identify-face", Answered[Faces], json=searched.dump())
        faces = answer.data
        if not faces.face_data:
            raise InvalidInput("Kling finds no face in the video.", field="input.video")
        first = faces.face_data[0]
        face = FaceChoice(face_id=first.face_id, sound_insert_time=first.start_time, **sound)
        body = LipSyncBody(session_id=faces.session_id, face_choose=[face])
        sent = finished(body, call, wire, without=("video_id", *_OF_FACE))
        sent["face_choose"][0] |= {name: value for name, value in call.options.items() if name in _OF_FACE}
        return sent


def _spoken(task: V1Task) -> Finished:
    """The sound within the answer; one without it has no task that could be asked for."""
    state = task.state()
    if isinstance(state, Pending):
        raise OutcomeUnknown(f"kling answered with a speech that is {task.task_status}.")
    return state


def _sound(call: ModelCall) -> dict[str, Any]:
    """The whole of a sound, from its beginning to its end."""
    audio = call.one("audio")
    if audio is None:
        return {}
    seconds = probe(audio.path, limits=_SOUND_LIMITS).duration or 0.0
    return {"sound_file": inline(audio), "sound_start_time": 0, "sound_end_time": int(seconds * 1000)}


def _signer(credentials: Credentials) -> Signer:
    """The API key where there is one: it is good for both generations, the pair maybe only for the older."""
    if credentials.api_key is None and credentials.access_key and credentials.secret_key:
        return KlingSigner(access_key=credentials.access_key, secret_key=SecretStr(credentials.secret_key))
    return BearerKey(SecretStr(credentials.api_key or ""))
