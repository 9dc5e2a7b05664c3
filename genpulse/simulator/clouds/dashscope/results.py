"""What DashScope's models make, and in which form each family says so."""

from __future__ import annotations

from typing import Any

from genpulse.simulator.clouds.dashscope.bodies import (
    ANIMATED,
    IMAGE2VIDEO,
    SERVICES,
    SHAPES,
    TEXT2IMAGE,
    TTS,
    VIDEO,
    Creation,
)
from genpulse.simulator.jobs import Job
from genpulse.simulator.media import Format, Media

KEPT_SECONDS = 24 * 3600


def outputs(asked: Creation) -> list[Media]:
    told = asked.parameters
    if asked.model == TTS:
        return [Media(Format.WAV, seconds=2)]
    if SERVICES[asked.model].path in {VIDEO, IMAGE2VIDEO}:
        short = int((told.resolution or "720P").removesuffix("P"))
        across, down = SHAPES.get(told.ratio or "16:9", (16, 9))
        width, height = told.sides or (short * across // min(across, down), short * down // min(across, down))
        return [Media(Format.MP4, width, height, seconds=told.duration)]
    width, height = told.sides or (1024, 1024)
    return [Media(Format.PNG, width, height, variant=number) for number in range(told.n)]


def made(job: Job) -> dict[str, Any]:
    """The output in the form of its family."""
    asked: Creation = job.extra["asked"]
    expires = int((job.ended_at or job.created_at) + KEPT_SECONDS)
    links = [f"{file.url}?Expires={expires}" for file in job.files]
    prompts = {"orig_prompt": job.prompt, "actual_prompt": f"{job.prompt}, in fine detail"} if job.prompt else {}
    path = job.extra["path"]
    if asked.model == TTS:
        return {
            "finish_reason": "stop",
            "audio": {"data": "", "id": job.id, "expires_at": expires} | _first("url", links),
        }
    if asked.model in ANIMATED:
        return {"results": _first("video_url", links)}
    if asked.model == "video-style-transform":
        return _first("output_video_url", links)
    if path in {VIDEO, IMAGE2VIDEO}:
        return prompts | _first("video_url", links)
    if asked.model == "qwen-mt-image":
        return _first("image_url", links)
    if asked.model == "wanx-style-repaint-v1":
        return {
            "error_code": 0,
            "error_message": "Success",
            "style_index": 0,
            "results": [{"url": one} for one in links],
        }
    if asked.input.messages is not None:
        content = [[{"image": link, "type": "image"}] for link in links]
        choices = [{"finish_reason": "stop", "message": {"role": "assistant", "content": one}} for one in content]
        return {"choices": choices} | ({} if job.extra["direct"] else {"finished": True})
    told = prompts if path == TEXT2IMAGE else {}
    metrics = {"TOTAL": len(links), "SUCCEEDED": len(links), "FAILED": 0}
    return {"results": [told | {"url": link} for link in links], "task_metrics": metrics}


def _first(name: str, links: list[str]) -> dict[str, str]:
    return {name: links[0]} if links else {}


def usage(job: Job) -> dict[str, Any]:
    if job.media[0].format is Format.MP4:
        seconds = job.media[0].seconds
        short = min(job.media[0].width, job.media[0].height)
        return {"duration": seconds, "output_video_duration": seconds, "video_count": 1, "SR": short}
    if job.media[0].format is Format.WAV:
        return {"characters": len(job.extra["asked"].input.text or "")}
    return {"image_count": len(job.files)}
