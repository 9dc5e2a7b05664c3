"""How one common call is put to Kling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from genpulse.errors import InvalidInput
from genpulse.providers.base import Media, ModelCall, merged
from genpulse.providers.kling.bodies import (
    AvatarBody,
    Content,
    EffectBody,
    EffectInput,
    ExpansionBody,
    ExtensionBody,
    ImageBody,
    ListedImage,
    MotionBody,
    OmniImage,
    OmniImageBody,
    OmniVideo,
    OmniVideoBody,
    ReferencesBody,
    Sent,
    Settings,
    SoundBody,
    SoundtrackBody,
    SpeechBody,
    Subject,
    TaskBody,
    TryOnBody,
    VideoBody,
)
from genpulse.providers.kling.model import Form, ModelWire
from genpulse.schemas.states import Operation

_MODES = {"720p": "std", "1080p": "pro", "4k": "4k"}
_SOUND_SECONDS = 5.0


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole body, but for a lip-sync, which needs to be told of faces first."""
    check_options(call, wire)
    return finished(_BUILDERS[wire.form](call, wire), call, wire)


def finished(body: Sent, call: ModelCall, wire: ModelWire, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The body with the caller's options in it, and with what we ask for the task by."""
    options = {name: value for name, value in call.options.items() if name not in without}
    if wire.form is Form.SPEECH:  # it is no task
        return merged(body.dump(), options)
    ours = {"external_task_id": call.key} | ({"callback_url": call.callback_url} if call.callback_url else {})
    return merged(merged(body.dump(), options), {"options": ours} if wire.is_new else ours)


def check_options(call: ModelCall, wire: ModelWire) -> None:
    """Raise InvalidInput where an option is missing that the call is nothing without."""
    for name in wire.needs_options:
        if name not in call.options:
            raise InvalidInput(f"{call.model} needs `{name}` in `provider_options`.", field=f"provider_options.{name}")


def check_sound(call: ModelCall) -> None:
    """Raise InvalidInput where nothing says what is spoken."""
    if call.one("audio") is None and "audio_id" not in call.options:
        raise InvalidInput("Give `audio`, or `audio_id` of a speech of Kling's as an option.", field="input.audio")


def inline(file: Media) -> str:
    """A URL, or the bare base64 that Kling takes in its place."""
    return file.url or file.base64()


def video_url(file: Media) -> str:
    """Kling takes videos by URL only."""
    if file.url is None:
        raise InvalidInput("Kling fetches videos itself: give one by a URL that is open to it.", field="input.video")
    return file.url


def _task(call: ModelCall, wire: ModelWire) -> TaskBody:
    settings = _settings(call, _resolution(call, wire), audio="native")
    if call.operation is Operation.TEXT_TO_VIDEO:
        return TaskBody(prompt=call.input.get("prompt"), settings=settings)
    return TaskBody(contents=[*_prompt(call), *_frames(call)], settings=settings)


def _omni_task(call: ModelCall, wire: ModelWire) -> TaskBody:
    images = [
        Content(type="refer_image", id=f"image_{number}", url=inline(file))
        for number, file in enumerate(call.media.get("reference_images", ()), 1)
    ]
    video = call.one("video")
    kind: Literal["base_video", "feature_video"] = "base_video" if wire.video == "base" else "feature_video"
    videos = [Content(type=kind, id="video_1", url=video_url(video))] if video else []
    settings = _settings(call, call.input.get("resolution"), audio="original" if video else "native")
    if call.operation is Operation.TEXT_TO_VIDEO and settings.aspect_ratio is None:
        settings.aspect_ratio = "16:9"  # there is no default without a frame or a video to take it from
    return TaskBody(contents=[*_prompt(call), *_frames(call), *images, *videos], settings=settings)


def _motion_task(call: ModelCall, _wire: ModelWire) -> TaskBody:
    """The figure of a picture moves as somebody in a video does, and faces as there unless the options differ."""
    video = call.one("video")
    contents = _prompt(call)
    contents += [Content(type="image", url=inline(file)) for file in call.media.get("image", ())]
    contents += [Content(type="video", url=video_url(video))] if video else []
    settings = _settings(call, call.input.get("resolution"), audio="original")
    settings.character_orientation = "video"
    return TaskBody(contents=contents, settings=settings)


def _settings(call: ModelCall, resolution: str | None, *, audio: Literal["native", "original"]) -> Settings:
    wanted = call.input.get("audio")
    seconds = call.input.get("duration")
    return Settings(
        audio=None if wanted is None else audio if wanted else "off",
        resolution=resolution,
        aspect_ratio=call.input.get("aspect_ratio"),
        duration=None if seconds is None else round(seconds),
    )


def _prompt(call: ModelCall) -> list[Content]:
    return [Content(type="prompt", text=call.input["prompt"])] if "prompt" in call.input else []


def _frames(call: ModelCall) -> list[Content]:
    first, last = call.one("image"), call.one("last_image")
    frames = [Content(type="first_frame", url=inline(first))] if first else []
    return frames + ([Content(type="last_frame", url=inline(last))] if last else [])


def _video(call: ModelCall, wire: ModelWire) -> VideoBody:
    sound = call.input.get("audio")
    return VideoBody(
        model_name=wire.name,
        **_texts(call),
        image=_inline(call, "image"),
        image_tail=_inline(call, "last_image"),
        sound=None if sound is None else "on" if sound else "off",
        cfg_scale=call.input.get("guidance"),
        **_v1_settings(call, wire),
    )


def _omni_video(call: ModelCall, wire: ModelWire) -> OmniVideoBody:
    first, last, video = call.one("image"), call.one("last_image"), call.one("video")
    images = [OmniImage(image_url=inline(first), type="first_frame")] if first else []
    images += [OmniImage(image_url=inline(last), type="end_frame")] if last else []
    images += [OmniImage(image_url=inline(file)) for file in call.media.get("reference_images", ())]
    sound = call.input.get("audio")
    kept: Literal["yes", "no"] | None = None if sound is None else "yes" if sound else "no"
    return OmniVideoBody(
        model_name=wire.name,
        prompt=call.input.get("prompt"),
        image_list=images or None,
        video_list=[OmniVideo(video_url=video_url(video), refer_type=wire.video, keep_original_sound=kept)]
        if video
        else None,
        **_v1_settings(call, wire),
    )


def _motion(call: ModelCall, wire: ModelWire) -> MotionBody:
    video, kept = call.one("video"), call.input.get("audio")
    return MotionBody(
        model_name=wire.name,
        prompt=call.input.get("prompt"),
        image_url=_inline(call, "image"),
        video_url=video_url(video) if video else None,
        mode=_MODES[call.input.get("resolution", "720p")],
        keep_original_sound=None if kept is None else "yes" if kept else "no",
    )


def _extension(call: ModelCall, _wire: ModelWire) -> ExtensionBody:
    return ExtensionBody(**_texts(call), cfg_scale=call.input.get("guidance"))


def _effect(call: ModelCall, _wire: ModelWire) -> EffectBody:
    references = [inline(file) for file in call.media.get("reference_images", ())]
    return EffectBody(input=EffectInput(image=_inline(call, "image"), images=references or None))


def _avatar(call: ModelCall, wire: ModelWire) -> AvatarBody:
    check_sound(call)
    resolution = _resolution(call, wire)
    return AvatarBody(
        image=_inline(call, "image"),
        prompt=call.input.get("prompt"),
        sound_file=_inline(call, "audio"),
        mode=None if resolution is None else _MODES[resolution],
    )


def _soundtrack(call: ModelCall, _wire: ModelWire) -> SoundtrackBody:
    video = call.one("video")
    if video is None and "video_id" not in call.options:
        raise InvalidInput("Give `video`, or `video_id` of an earlier result as an option.", field="input.video")
    return SoundtrackBody(video_url=video_url(video) if video else None, sound_effect_prompt=call.input.get("prompt"))


def _sound(call: ModelCall, _wire: ModelWire) -> SoundBody:
    return SoundBody(prompt=call.input.get("prompt"), duration=call.input.get("duration", _SOUND_SECONDS))


def _speech(call: ModelCall, _wire: ModelWire) -> SpeechBody:
    return SpeechBody(text=call.input.get("prompt"), voice_id=call.input.get("voice"))


def _image(call: ModelCall, wire: ModelWire) -> ImageBody:
    return ImageBody(**_texts(call), **_picture(call, wire), image=_inline(call, "image"))


def _omni_image(call: ModelCall, wire: ModelWire) -> OmniImageBody:
    images = [ListedImage(image=inline(file)) for file in _pictures(call)]
    return OmniImageBody(prompt=call.input.get("prompt"), **_picture(call, wire), image_list=images or None)


def _references(call: ModelCall, wire: ModelWire) -> ReferencesBody:
    return ReferencesBody(
        model_name=wire.name,
        prompt=call.input.get("prompt"),
        subject_image_list=[Subject(subject_image=inline(file)) for file in _pictures(call)],
        n=call.input.get("count"),
        aspect_ratio=call.input.get("aspect_ratio"),
    )


def _expansion(call: ModelCall, _wire: ModelWire) -> ExpansionBody:
    sides = [name for name in ExpansionBody.model_fields if name.endswith("_ratio")]
    if not call.options.keys() & set(sides):
        raise InvalidInput(
            f"{call.model} needs one of {', '.join(sides)} in `provider_options`.", field=f"provider_options.{sides[0]}"
        )
    return ExpansionBody(image=_inline(call, "image"), prompt=call.input.get("prompt"), n=call.input.get("count"))


def _try_on(call: ModelCall, wire: ModelWire) -> TryOnBody:
    (clothes,) = call.media["reference_images"]
    return TryOnBody(model_name=wire.name, human_image=_inline(call, "image"), cloth_image=inline(clothes))


def _v1_settings(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    resolution, seconds = _resolution(call, wire), call.input.get("duration")
    return {
        "mode": None if resolution is None else _MODES[resolution],
        "aspect_ratio": call.input.get("aspect_ratio"),
        "duration": None if seconds is None else f"{seconds:g}",
    }


def _resolution(call: ModelCall, wire: ModelWire) -> str | None:
    """The resolution that was asked for, or else the one that another field needs."""
    asked: str | None = call.input.get("resolution")
    reason = next((name for name in wire.needs_1080p if call.input.get(name) or call.media.get(name)), None)
    if reason is None:
        return asked
    if asked not in (None, "1080p"):
        raise InvalidInput(f"{call.model} takes `{reason}` at 1080p only.", field="input.resolution")
    return "1080p"


def _texts(call: ModelCall) -> dict[str, Any]:
    return {name: call.input.get(name) for name in ("prompt", "negative_prompt")}


def _picture(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    given = call.input
    return {
        "model_name": wire.name,
        "resolution": given.get("resolution"),
        "n": given.get("count"),
        "aspect_ratio": given.get("aspect_ratio"),
    }


def _pictures(call: ModelCall) -> list[Media]:
    return [*call.media.get("image", ()), *call.media.get("reference_images", ())]


def _inline(call: ModelCall, name: str) -> str | None:
    file = call.one(name)
    return None if file is None else inline(file)


_BUILDERS: dict[Form, Callable[[ModelCall, ModelWire], Sent]] = {
    Form.TASK: _task,
    Form.OMNI_TASK: _omni_task,
    Form.MOTION_TASK: _motion_task,
    Form.VIDEO: _video,
    Form.OMNI_VIDEO: _omni_video,
    Form.MOTION: _motion,
    Form.EXTENSION: _extension,
    Form.AVATAR: _avatar,
    Form.EFFECT: _effect,
    Form.SOUNDTRACK: _soundtrack,
    Form.SOUND: _sound,
    Form.SPEECH: _speech,
    Form.IMAGE: _image,
    Form.OMNI_IMAGE: _omni_image,
    Form.REFERENCES: _references,
    Form.EXPANSION: _expansion,
    Form.TRY_ON: _try_on,
}
