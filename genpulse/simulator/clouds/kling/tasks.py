"""What comes out of Kling's tasks, and how they are shown in either generation of its API."""

from __future__ import annotations

from typing import Any

from genpulse.simulator.clouds.kling.bodies import Body
from genpulse.simulator.jobs import Failure, File, Job, State
from genpulse.simulator.media import Format, Media

SPEECH = "/v1/audio/tts"
_STATUS = {State.QUEUED: "submitted", State.RUNNING: "processing", State.FAILED: "failed"}
_REASONS = {
    Failure.CONTENT: "Failure to pass the risk control system",
    Failure.INTERNAL: "Generation failed, please try again",
}


def is_new(job: Job) -> bool:
    return job.extra["path"] is None


def outputs(asked: Body, path: str | None) -> list[Media]:
    width, height = asked.size
    video = Media(Format.MP4, width, height, seconds=asked.seconds)
    sound = Media(Format.WAV, seconds=asked.seconds)
    match (path or "/v1/videos/").split("/")[2]:
        case "videos":
            return [video]
        case "audio":
            return [video, sound] if str(path).endswith("video-to-audio") else [sound]
    return [Media(Format.PNG, width, height, variant=number) for number in range(asked.count)]


def task(job: Job, state: State) -> dict[str, Any]:
    """A task of the new generation."""
    shown: dict[str, Any] = {
        "id": job.id,
        "status": "succeeded" if state is State.SUCCEEDED else _STATUS[state],
        "message": _REASONS[job.failure] if state is State.FAILED and job.failure else "",
        "create_time": _milliseconds(job.created_at),
        "update_time": _milliseconds(job.clock.now()),
        "external_id": job.key or "",
        "outputs": [],
        "billing": [],
    }
    if state is not State.SUCCEEDED:
        return shown
    made = [{"type": "video", **_video(job, number, file)} for number, file in enumerate(job.files)]
    billed = {"charge_type": "unit", "package_type": "video", "amount": "3.0", "list_price": "0.42"}
    return shown | {"outputs": made, "billing": [billed]}


def v1_task(job: Job, state: State) -> dict[str, Any]:
    """A task of the older generation."""
    shown: dict[str, Any] = {
        "task_id": job.id,
        "task_status": "succeed" if state is State.SUCCEEDED else _STATUS[state],
        "task_status_msg": _REASONS[job.failure] if state is State.FAILED and job.failure else "",
        "task_info": {"external_task_id": job.key} if job.key else {},
        "created_at": _milliseconds(job.created_at),
        "updated_at": _milliseconds(job.clock.now()),
    }
    if state is not State.SUCCEEDED:
        return shown
    result: dict[str, list[dict[str, Any]]] = {}
    pictures = "series_images" if job.body.get("result_type") == "series" else "images"
    for number, file in enumerate(job.files):
        if file.media.format is Format.MP4:
            result.setdefault("videos", []).append(_video(job, number, file))
        elif file.media.format is Format.WAV:
            result.setdefault("audios", []).append(_sound(job, number, file))
        else:
            result.setdefault(pictures, []).append({"index": number, "url": file.url})
    return shown | {"task_result": result, "final_unit_deduction": "3.0"}


def file_id(job: Job, number: int) -> str:
    return str(int(job.id) + 1 + number)


def _video(job: Job, number: int, file: File) -> dict[str, str]:
    return {"id": file_id(job, number), "url": file.url, "duration": f"{file.media.seconds:.1f}"}


def _sound(job: Job, number: int, file: File) -> dict[str, str]:
    if job.extra["path"] == SPEECH:
        return _video(job, number, file)
    seconds = f"{file.media.seconds:.1f}"
    links = {"url_mp3": file.url, "url_wav": file.url, "duration_mp3": seconds, "duration_wav": seconds}
    return {"id": file_id(job, number)} | links


def _milliseconds(moment: float) -> int:
    return int(moment * 1000)
