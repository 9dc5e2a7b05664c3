"""How tasks of models that Qianfan hosts are shown: each series as its vendor does."""

from __future__ import annotations

import uuid
from typing import Any

from genpulse.simulator.clouds.baidu.bodies import K, Omni, V
from genpulse.simulator.jobs import Job, State

_SIDES = {"540p": 540, "720p": 720, "1080p": 1080, "std": 720, "pro": 1080}
_K_STATUS = {
    State.QUEUED: "submitted",
    State.RUNNING: "processing",
    State.SUCCEEDED: "succeed",
    State.FAILED: "failed",
}
_V_STATUS = {
    State.QUEUED: "queueing",
    State.RUNNING: "processing",
    State.SUCCEEDED: "success",
    State.FAILED: "failed",
}


def video_size(asked: K | Omni | V) -> tuple[int, int]:
    side = _SIDES[asked.resolution if isinstance(asked, V) else asked.mode]
    width, height = map(int, ("16:9" if isinstance(asked, V) else asked.aspect_ratio).split(":"))
    scale = side / min(width, height)
    return round(width * scale), round(height * scale)


def k_view(job: Job, state: State) -> dict[str, Any]:
    done = state is State.SUCCEEDED
    seconds = str(int(job.media[0].seconds))
    videos = [{"id": str(uuid.uuid4()), "url": file.url, "duration": seconds} for file in job.files] if done else []
    data = {
        "task_id": job.id,
        "task_status": _K_STATUS[state],
        "task_status_msg": "The task failed" if state is State.FAILED else "",
        "task_result": {"videos": videos},
        "created_at": round(job.created_at * 1000),
        "updated_at": round((job.ended_at or job.started_at) * 1000),
    }
    told: dict[str, Any] = {"code": 0, "message": "SUCCEED", "request_id": str(uuid.uuid4()), "data": data}
    if done:
        mode = job.body["model_parameters"].get("mode", "std")
        told["usage"] = {"model_name": job.model, "mode": mode, "duration": seconds, "credits": 3.5}
    return told


def v_view(job: Job, state: State) -> dict[str, Any]:
    done = state is State.SUCCEEDED
    made = [{"id": str(uuid.uuid4()), "url": one.url, "cover_url": "", "watermarked_url": ""} for one in job.files]
    return {
        "log_id": str(uuid.uuid4()),
        "id": job.id,
        "status": _V_STATUS[state],
        "err_code": "TaskFailed" if state is State.FAILED else "",
        "creations": made if done else [],
        "usage": {"credits": 40} if done else None,
    }
