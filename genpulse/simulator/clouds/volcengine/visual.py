"""Visual: what each `req_key` of Jimeng takes, and how its tasks are shown."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from genpulse.simulator.clouds.volcengine.ark import RATIOS
from genpulse.simulator.jobs import Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Refusal

#: Each with how many images it takes, at least and at most, and whether it makes video.
REQ_KEYS: dict[str, tuple[int, int, bool]] = {
    "jimeng_t2i_v30": (0, 0, False),
    "jimeng_t2i_v31": (0, 0, False),
    "jimeng_t2i_v40": (0, 10, False),
    "jimeng_seedream46_cvtob": (0, 14, False),
    "jimeng_i2i_v30": (1, 1, False),
    "jimeng_i2i_seed3_tilesr_cvtob": (1, 1, False),
    "jimeng_img2img_seed3_painting_edit": (1, 2, False),
    "jimeng_image2image_dream_inpaint": (2, 2, False),
    "jimeng_ti2v_v30_pro": (0, 1, True),
    "jimeng_t2v_v30": (0, 0, True),
    "jimeng_i2v_first_v30": (1, 1, True),
    "jimeng_i2v_first_tail_v30": (2, 2, True),
    "jimeng_i2v_recamera_v30": (1, 1, True),
    "jimeng_t2v_v30_1080p": (0, 0, True),
    "jimeng_i2v_first_v30_1080": (1, 1, True),
    "jimeng_i2v_first_tail_v30_1080": (2, 2, True),
    "jimeng_vgfm_t2v_l20": (0, 0, True),
    "jimeng_vgfm_i2v_l20": (1, 1, True),
}
#: What is made within the answer: each with the action that it is asked for by.
AT_ONCE = {
    "lens_nnsr2_pic_common": "CVProcess",
    "lens_vida_nnsr": "OverResolutionV2",
    "lens_lqir": "EnhancePhotoV2",
}
SUBMITS = {"CVSync2AsyncSubmitTask": "2022-08-31", "CVSubmitTask": "2022-08-31"}
RESULTS = {"CVSync2AsyncGetResult": "2022-08-31", "CVGetResult": "2022-08-31"}
VISUAL_STATUS = {State.QUEUED: "in_queue", State.RUNNING: "generating"}


class VisualRequest(BaseModel):
    req_key: str
    prompt: str | None = Field(None, max_length=800)
    image_urls: list[str] = Field(default_factory=list)
    binary_data_base64: list[str] = Field(default_factory=list)
    width: int | None = Field(None, ge=256, le=16384)
    height: int | None = Field(None, ge=256, le=16384)
    frames: Literal[121, 241] = 121
    aspect_ratio: Literal["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"] = "16:9"
    resolution: Literal["4k", "8k"] = "4k"
    seed: int = -1


class AtOnceRequest(BaseModel):
    req_key: str
    image_urls: list[str] = Field(default_factory=list, max_length=1)
    binary_data_base64: list[str] = Field(default_factory=list, max_length=1)
    return_url: bool = False
    model_quality: Literal["HQ", "MQ", "LQ"] | None = None
    result_format: Literal[0, 1] = 0

    @model_validator(mode="after")
    def is_complete(self) -> AtOnceRequest:
        if len(self.image_urls) + len(self.binary_data_base64) != 1:
            raise ValueError("one image")
        if self.req_key == "lens_nnsr2_pic_common" and self.model_quality is None:
            raise ValueError("model_quality is required")
        return self


class ResultRequest(BaseModel):
    req_key: str
    task_id: str
    req_json: str = "{}"


def visual_answer(data: Mapping[str, Any] | None, code: int = 10000, message: str = "Success") -> dict[str, Any]:
    return {
        "code": code,
        "data": data,
        "message": message,
        "request_id": secrets.token_hex(16),
        "status": code,
        "time_elapsed": "104.852441ms",
    }


def visual_problem(status: int, code: int, message: str, data: Mapping[str, Any] | None = None) -> Refusal:
    return Refusal(status, visual_answer(data, code, message))


def wants_links(req_json: str) -> bool:
    try:
        asked = json.loads(req_json)
    except ValueError:
        return False
    return isinstance(asked, dict) and asked.get("return_url") is True


def visual_media(asked: VisualRequest, *, makes_video: bool) -> Media:
    if makes_video:
        short = 1080 if "1080" in asked.req_key or "pro" in asked.req_key else 720
        ratio = RATIOS[asked.aspect_ratio]
        width, height = (round(short * ratio), short) if ratio >= 1 else (short, round(short / ratio))
        return Media(Format.MP4, width, height, seconds=(asked.frames - 1) / 24)
    usual = 4096 if "tilesr" in asked.req_key else 2048
    return Media(Format.PNG, asked.width or usual, asked.height or usual)


def visual_outputs(job: Job, *, as_links: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"status": "done", "image_urls": None, "binary_data_base64": None, "video_url": ""}
    if job.media[0].format is Format.MP4:
        data["video_url"] = job.files[0].url if job.files else ""
    elif as_links:
        data["image_urls"] = [file.url for file in job.files]
    else:
        data["binary_data_base64"] = [base64.b64encode(file.read()).decode() for file in job.files]
    return data
