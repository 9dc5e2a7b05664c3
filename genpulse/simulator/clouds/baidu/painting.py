"""AI painting: what each flavour takes, and how its tasks are shown."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genpulse.simulator.jobs import Failure, Job, State

_BASIC_SIZES = {"512*512", "640*360", "360*640", "1024*1024", "720*1280", "1280*720"}
_SIZES = {
    *((512, 512), (640, 360), (360, 640), (1024, 1024), (1280, 720), (720, 1280)),
    *((2048, 2048), (2560, 1440), (1440, 2560), (3840, 2160), (2160, 3840)),
}
TIMED_OUT = 216303
_STATUS = {
    State.QUEUED: "WAIT",
    State.RUNNING: "RUNNING",
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILED",
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Basic(_Body):
    text: str = Field(min_length=1, max_length=190)
    resolution: str
    style: str | None = None
    num: int = Field(1, ge=1, le=6)
    text_content: str | None = None

    @property
    def sides(self) -> tuple[int, int]:
        width, height = self.resolution.split("*")
        return int(width), int(height)

    @model_validator(mode="after")
    def _known_size(self) -> Self:
        if self.resolution not in _BASIC_SIZES:
            raise ValueError("resolution is not supported")
        return self


class Advanced(_Body):
    """Official clients send null and empty texts for what is not set."""

    prompt: str = Field(min_length=1, max_length=200)
    width: int
    height: int
    image_num: int = Field(1, ge=1, le=8)
    image: str | None = None
    url: str | None = None
    pdf_file: str | None = None
    pdf_file_num: str | None = None
    change_degree: int | None = None
    text_content: str | None = None
    task_time_out: int | None = None
    text_check: int | None = None

    @model_validator(mode="after")
    def _known_size(self) -> Self:
        if (self.width, self.height) not in _SIZES:
            raise ValueError("width and height are not supported")
        if len([one for one in (self.image, self.url, self.pdf_file) if one]) > 1:
            raise ValueError("one of image, url and pdf_file")
        return self


class BasicQuery(_Body):
    taskId: str | int  # noqa: N815 - the cloud's own name


class Query(_Body):
    task_id: str | int


def basic_view(job: Job, state: State) -> dict[str, Any]:
    done = state is State.SUCCEEDED
    links = [file.url for file in job.files] if done else []
    return {
        "taskId": job.id,
        "status": int(done),
        "img": links[0] if links else "",
        "imgUrls": [{"image": link} for link in links],
        "waiting": "0" if done else "10s",
    }


def view(job: Job, state: State) -> dict[str, Any]:
    """The progress goes with the status. A picture that was refused is shown, and marked."""
    blocked = job.failure is Failure.CONTENT
    status = "SUCCESS" if blocked and state.ended else _STATUS[state]
    progress = 0.0 if state is State.QUEUED else 0.5 if state is State.RUNNING else 1.0
    part: dict[str, Any] = {
        "sub_task_status": status,
        "sub_task_progress": int(progress),
        "sub_task_progress_detail": progress,
        "sub_task_error_code": TIMED_OUT if status == "FAILED" else 0,
        "final_image_list": [],
    }
    if status == "SUCCESS":
        conclusion = "block" if blocked else "pass"
        part["final_image_list"] = [
            {
                "img_url": file.url,
                "width": file.media.width,
                "height": file.media.height,
                "img_approve_conclusion": conclusion,
            }
            for file in job.files
        ]
    return {
        "task_id": int(job.id),
        "task_status": status,
        "task_progress": int(progress),
        "task_progress_detail": progress,
        "sub_task_result_list": [part],
    }
