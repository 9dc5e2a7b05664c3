"""MiniMax' speech, music and voices: what is said or played, and samples, clones and designs of who says it."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import UploadFile
from starlette.responses import Response

from genpulse.simulator.clouds.minimax import bodies
from genpulse.simulator.clouds.minimax.words import ok, raise_failure, refusal
from genpulse.simulator.core import Cloud, Upload
from genpulse.simulator.jobs import Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Route

_FORMATS = {"mp3": Format.MP3, "wav": Format.WAV}
_SAMPLES = (".mp3", ".m4a", ".wav")
_LARGEST_SAMPLE = 20_000_000
_CHARACTERS_A_SECOND = 15
_SYSTEM_VOICE = {"voice_id": "male-qn-qingse", "voice_name": "Young man", "description": []}


class Sounds:
    """What of the cloud is heard. A voice is in the job that made it, as `voice`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/v1/t2a_v2", self.speak, Kind.SUBMIT),
            Route("POST", "/v1/music_generation", self.play, Kind.SUBMIT),
            Route("POST", "/v1/files/upload", self.upload),
            Route("POST", "/v1/voice_clone", self.clone, Kind.SUBMIT),
            Route("POST", "/v1/voice_design", self.design, Kind.SUBMIT),
            Route("POST", "/v1/get_voice", self.voices),
        ]

    async def speak(self, call: Call) -> Response:
        asked = call.read(bodies.Speech)
        job = await self._job(call, asked, asked.text, asked.model, _FORMATS[asked.audio_setting.format])
        facts = {
            "audio_length": 1000,
            "audio_sample_rate": asked.audio_setting.sample_rate,
            "audio_size": 0,
            "bitrate": asked.audio_setting.bitrate,
            "word_count": len(asked.text.split()),
            "invisible_character_ratio": 0,
            "usage_characters": len(asked.text),
            "audio_format": asked.audio_setting.format,
            "audio_channel": asked.audio_setting.channel,
        }
        return _heard(job, asked.output_format, facts)

    async def play(self, call: Call) -> Response:
        asked = call.read(bodies.Music)
        said = asked.lyrics or asked.prompt
        job = await self._job(call, asked, said, asked.model, _FORMATS[asked.audio_setting.format])
        facts = {
            "music_duration": round(job.media[0].seconds * 1000),
            "music_sample_rate": asked.audio_setting.sample_rate,
            "music_channel": 2,
            "bitrate": asked.audio_setting.bitrate,
            "music_size": 0,
        }
        return _heard(job, asked.output_format, facts)

    async def upload(self, call: Call) -> Response:
        async with call.request.form() as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile) or purpose not in ("voice_clone", "prompt_audio", "t2a_async_input"):
                raise refusal(call, 2013, "invalid params, file and purpose are required")
            kind = file.content_type or "application/octet-stream"
            stored = self._cloud.store(name=f"{purpose}/{file.filename}", content_type=kind, content=await file.read())
        facts = {
            "file_id": _file_id(stored),
            "bytes": len(stored.content),
            "created_at": int(stored.created_at),
            "filename": file.filename,
            "purpose": purpose,
        }
        return ok({"file": facts})

    async def clone(self, call: Call) -> Response:
        asked = call.read(bodies.Clone)
        self._check_sample(call, asked.file_id, "voice_clone")
        if asked.clone_prompt is not None:
            self._check_sample(call, asked.clone_prompt.prompt_audio, "prompt_audio")
        self._check_new(call, asked.voice_id)
        job = await self._job(
            call, asked, asked.text, asked.model or "", Format.MP3, voice=asked.voice_id, kind="clone"
        )
        demo = job.files[0].url if asked.text and job.files else ""
        return ok({"input_sensitive": False, "input_sensitive_type": 0, "demo_audio": demo})

    async def design(self, call: Call) -> Response:
        asked = call.read(bodies.Design)
        voice = asked.voice_id or f"ttv-voice-{secrets.token_hex(8)}"
        self._check_new(call, voice)
        job = await self._job(call, asked, asked.prompt, "voice_design", Format.MP3, voice=voice, kind="design")
        return ok({"voice_id": voice, "trial_audio": job.files[0].read().hex() if job.files else ""})

    async def voices(self, call: Call) -> Response:
        """A cloned voice is shown once it has been used."""
        wanted = call.read(bodies.Voices).voice_type
        used = {job.body["voice_setting"]["voice_id"] for job in self._cloud.jobs() if "voice_setting" in job.body}
        kinds = {
            "system": ("system_voice", [_SYSTEM_VOICE]),
            "voice_cloning": ("voice_cloning", [one for one in self._made("clone") if one["voice_id"] in used]),
            "voice_generation": ("voice_generation", self._made("design")),
        }
        return ok({name: listed for kind, (name, listed) in kinds.items() if wanted in (kind, "all")})

    async def _job(self, call: Call, asked: Any, said: str | None, model: str, form: Format, **extra: Any) -> Job:
        job = self._cloud.create(
            call,
            media=[Media(form, seconds=max(1.0, len(said or "") / _CHARACTERS_A_SECOND))],
            model=model,
            prompt=said,
            body=asked.model_dump(mode="json", exclude_unset=True),
            extra={"api": 1} | extra,
        )
        raise_failure(call, job, await self._cloud.finish(job))
        return job

    def _made(self, kind: str) -> list[dict[str, Any]]:
        done = [job for job in self._cloud.jobs() if job.extra.get("kind") == kind and job.state is State.SUCCEEDED]
        return [{"voice_id": job.extra["voice"], "description": [], "created_time": "2026-11-01"} for job in done]

    def _check_new(self, call: Call, voice: str) -> None:
        if voice in {one["voice_id"] for one in (_SYSTEM_VOICE, *self._made("clone"), *self._made("design"))}:
            raise refusal(call, 2039, "voice clone voice id duplicate")

    def _check_sample(self, call: Call, file_id: int, purpose: str) -> None:
        uploads = [one for (cloud, _), one in self._cloud.world.uploads.items() if cloud == self._cloud.name]
        sample = next((one for one in uploads if _file_id(one) == file_id), None)
        if sample is None or not sample.name.startswith(f"{purpose}/"):
            raise refusal(call, 2013, "invalid params, file_id")
        if not sample.name.lower().endswith(_SAMPLES) or len(sample.content) > _LARGEST_SAMPLE:
            raise refusal(call, 20132, "invalid samples or voice_id")


def _heard(job: Job, form: str, facts: dict[str, Any]) -> Response:
    audio = ""
    if job.files:
        audio = job.files[0].url if form == "url" else job.files[0].read().hex()
    return ok({"data": {"audio": audio, "status": 2}, "extra_info": facts, "trace_id": job.id})


def _file_id(upload: Upload) -> int:
    return uuid.UUID(upload.id).int % 10**15
