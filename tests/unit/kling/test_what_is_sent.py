"""Kling: what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from genpulse.errors import (
    ContentBlocked,
    InvalidInput,
    MediaRejected,
    OutcomeUnknown,
)
from genpulse.pricing import most, terms
from genpulse.providers.base import Finished, Media
from genpulse.providers.kling import Kling
from genpulse.schemas.states import MediaKind, Operation
from tests.clouds import Files
from tests.unit.kling.shared import (
    SPECS,
    World,
    answering,
    call,
    sent_by,
)


async def test_the_older_body_is_as_recorded() -> None:
    given = {"prompt": "a cat", "duration": 5.0, "resolution": "720p", "aspect_ratio": "16:9"}
    assert await sent_by(call("kling-v3", given=given)) == (
        "/v1/videos/text2video",
        {
            "model_name": "kling-v3",
            "prompt": "a cat",
            "duration": "5",
            "mode": "std",
            "aspect_ratio": "16:9",
            "external_task_id": "gen_1-0-1",
        },
    )


async def test_the_new_body_is_as_recorded() -> None:
    given = {"prompt": "a cat", "duration": 5.0, "resolution": "720p"}
    path, body = await sent_by(call("kling-3.0", given=given, callback_url="https://me.example/hook"))
    assert path == "/text-to-video/kling-3.0"
    assert body == {
        "prompt": "a cat",
        "settings": {"duration": 5, "resolution": "720p"},
        "options": {"external_task_id": "gen_1-0-1", "callback_url": "https://me.example/hook"},
    }


async def test_frames_are_contents_in_bare_base64(files: Files) -> None:
    image = files[MediaKind.IMAGE]
    media = {"image": [image], "last_image": [image]}
    path, body = await sent_by(call("kling-3.0", "image-to-video", media=media))
    assert path == "/image-to-video/kling-3.0"
    assert body["contents"] == [
        {"type": "prompt", "text": "a fox"},
        {"type": "first_frame", "url": image.base64()},
        {"type": "last_frame", "url": image.base64()},
    ]


async def test_references_and_videos_are_named_for_the_prompt(files: Files) -> None:
    video, image = files[MediaKind.VIDEO], files[MediaKind.IMAGE]
    asked = call(
        "kling-3.0-omni",
        "video-to-video",
        {"prompt": "@image_1 in @video_1", "audio": True},
        media={"video": [video], "reference_images": [image]},
    )
    path, body = await sent_by(asked)
    assert path == "/omni-video/kling-3.0-omni"
    assert body["settings"] == {"audio": "original"}
    assert body["contents"][1:] == [
        {"type": "refer_image", "id": "image_1", "url": image.base64()},
        {"type": "base_video", "id": "video_1", "url": video.url},
    ]


async def test_omni_has_a_shape_without_anything_to_take_it_from() -> None:
    _, body = await sent_by(call("kling-3.0-omni"))
    assert body["settings"] == {"aspect_ratio": "16:9"}


async def test_older_omni_lists_frames_references_and_a_video(files: Files) -> None:
    image, video = files[MediaKind.IMAGE], files[MediaKind.VIDEO]
    media = {"image": [image], "last_image": [image], "reference_images": [image]}
    _, body = await sent_by(call("kling-video-o1", "image-to-video", media=media))
    data = image.base64()
    assert body["image_list"] == [
        {"image_url": data, "type": "first_frame"},
        {"image_url": data, "type": "end_frame"},
        {"image_url": data},
    ]
    given = {"prompt": "x", "audio": False}
    _, body = await sent_by(call("kling-video-o1", "video-to-video", given, media={"video": [video]}))
    assert body["video_list"] == [{"video_url": video.url, "refer_type": "base", "keep_original_sound": "no"}]


async def test_pictures_and_older_sound_have_names_of_their_own(files: Files) -> None:
    given = {"prompt": "x", "count": 3, "resolution": "2k", "aspect_ratio": "21:9"}
    path, body = await sent_by(call("kling-v3-image", "text-to-image", given))
    assert path == "/v1/images/generations"
    assert body | {"external_task_id": ""} == {
        "model_name": "kling-v3",
        "prompt": "x",
        "n": 3,
        "resolution": "2k",
        "aspect_ratio": "21:9",
        "external_task_id": "",
    }
    image = files[MediaKind.IMAGE]
    media = {"image": [image], "reference_images": [image]}
    path, body = await sent_by(call("kling-image-o1", "image-to-image", media=media))
    assert (path, body["image_list"]) == ("/v1/images/omni-image", [{"image": image.base64()}] * 2)
    _, body = await sent_by(call("kling-v3", given={"prompt": "x", "audio": False, "guidance": 0.7}))
    assert (body["sound"], body["cfg_scale"]) == ("off", 0.7)


@pytest.mark.parametrize(
    ("model", "name", "value"), [("kling-2.6", "resolution", "1080p"), ("kling-v2-6", "mode", "pro")]
)
async def test_what_needs_1080p_gets_it(model: str, name: str, value: str) -> None:
    _, body = await sent_by(call(model, given={"prompt": "x", "audio": True}))
    assert (body.get("settings") or body)[name] == value
    with pytest.raises(InvalidInput) as refused:
        await sent_by(call(model, given={"prompt": "x", "audio": True, "resolution": "720p"}))
    assert refused.value.field == "input.resolution"
    _, body = await sent_by(call(model, given={"prompt": "x", "audio": False, "resolution": "720p"}))
    assert (body.get("settings") or body)[name] in ("720p", "std")


async def test_options_join_what_is_sent_but_not_what_we_find_the_task_by() -> None:
    options = {
        "settings": {"multi_shot": False},
        "contents": [{"type": "element", "element_id": 7, "id": "Fox"}],
        "options": {"watermark_info": {"enabled": True}, "external_task_id": "theirs"},
    }
    _, body = await sent_by(call("kling-3.0-omni", given={"prompt": "x", "duration": 7}, options=options))
    assert body == {
        "contents": [{"type": "prompt", "text": "x"}, {"type": "element", "element_id": 7, "id": "Fox"}],
        "settings": {"duration": 7, "aspect_ratio": "16:9", "multi_shot": False},
        "options": {"watermark_info": {"enabled": True}, "external_task_id": "gen_1-0-1"},
    }
    _, body = await sent_by(call("kling-v3", options={"shot_type": "intelligence", "external_task_id": "theirs"}))
    assert (body["shot_type"], body["external_task_id"]) == ("intelligence", "gen_1-0-1")


async def test_a_figure_moves_as_somebody_in_a_video(files: Files) -> None:
    image, video = files[MediaKind.IMAGE], files[MediaKind.VIDEO]
    media = {"image": [image], "video": [video]}
    given = {"prompt": "in the rain", "audio": False, "resolution": "1080p"}
    path, body = await sent_by(call("kling-3.0-motion-control", "video-to-video", given, media=media))
    assert path == "/motion-control/kling-3.0"
    assert body["contents"] == [
        {"type": "prompt", "text": "in the rain"},
        {"type": "image", "url": image.base64()},
        {"type": "video", "url": video.url},
    ]
    assert body["settings"] == {"audio": "off", "resolution": "1080p", "character_orientation": "video"}
    options = {"character_orientation": "image"}
    path, body = await sent_by(call("kling-v3-motion-control", "video-to-video", given, media=media, options=options))
    assert path == "/v1/videos/motion-control"
    assert body == {
        "model_name": "kling-v3",
        "prompt": "in the rain",
        "image_url": image.base64(),
        "video_url": video.url,
        "mode": "pro",
        "keep_original_sound": "no",
        "character_orientation": "image",
        "external_task_id": "gen_1-0-1",
    }


async def test_a_video_may_be_gone_by_instead_of_changed(files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]]}
    asked = call("kling-3.0-omni-reference", "video-to-video", {"prompt": "x", "duration": 7.0}, media=media)
    _, body = await sent_by(asked)
    assert (body["contents"][1]["type"], body["settings"]) == ("feature_video", {"duration": 7})
    _, body = await sent_by(call("kling-video-o1-reference", "video-to-video", media=media))
    assert body["video_list"] == [{"video_url": files[MediaKind.VIDEO].url, "refer_type": "feature"}]


async def test_what_is_worn_shown_and_grown(files: Files) -> None:
    image, data = files[MediaKind.IMAGE], files[MediaKind.IMAGE].base64()
    media = {"image": [image], "reference_images": [image]}
    path, body = await sent_by(call("kolors-virtual-try-on-v1-5", "image-to-image", {}, media=media))
    assert path == "/v1/images/kolors-virtual-try-on"
    assert body == {
        "model_name": "kolors-virtual-try-on-v1-5",
        "human_image": data,
        "cloth_image": data,
        "external_task_id": "gen_1-0-1",
    }
    media = {"reference_images": [image] * 2}
    options = {"scene_image": "https://a/b.png"}
    path, body = await sent_by(call("kling-v2-1-references", "text-to-image", media=media, options=options))
    assert path == "/v1/images/multi-image2image"
    assert (body["subject_image_list"], body["scene_image"]) == ([{"subject_image": data}] * 2, "https://a/b.png")
    grown = {"up_expansion_ratio": 0.5}
    path, body = await sent_by(call("image-expand", "image-to-image", media={"image": [image]}, options=grown))
    assert path == "/v1/images/editing/expand"
    ratios = {name: value for name, value in body.items() if name.endswith("_ratio")}
    assert ratios == grown | dict.fromkeys(("down_expansion_ratio", "left_expansion_ratio", "right_expansion_ratio"), 0)


async def test_what_is_heard(files: Files) -> None:
    sound, video = files[MediaKind.AUDIO], files[MediaKind.VIDEO]
    media = {"image": [files[MediaKind.IMAGE]], "audio": [sound]}
    path, body = await sent_by(call("avatar", "image-to-video", {"resolution": "1080p"}, media=media))
    assert (path, body["sound_file"], body["mode"]) == ("/v1/videos/avatar/image2video", sound.base64(), "pro")
    media = {"image": [files[MediaKind.IMAGE]]}
    _, body = await sent_by(call("avatar", "image-to-video", {}, media=media, options={"audio_id": "8"}))
    assert body["audio_id"] == "8"
    assert "sound_file" not in body
    options = {"bgm_prompt": "a waltz"}
    asked = call("video-sound", "video-to-video", {"prompt": "rain"}, media={"video": [video]}, options=options)
    path, body = await sent_by(asked)
    assert path == "/v1/audio/video-to-audio"
    assert body == {"video_url": video.url, "sound_effect_prompt": "rain", "external_task_id": "gen_1-0-1"} | options
    path, body = await sent_by(call("sound-effect", "text-to-speech", {"prompt": "rain"}))
    assert (path, body["duration"]) == ("/v1/audio/text-to-audio", 5.0)


def spoken(answer: dict[str, Any]) -> Kling:
    return answering(200, {"code": 0, "message": "SUCCEED", "data": {"task_id": "1", **answer}})


async def test_speech_is_in_the_answer_and_nowhere_else() -> None:
    said = call("speech", "text-to-speech", {"prompt": "hello", "voice": "v"}, options={"voice_language": "en"})
    sound = {"id": "8", "url": "https://k/8.mp3", "duration": "1.5"}
    made = await spoken({"task_status": "succeed", "task_result": {"audios": [sound]}}).submit(said)
    assert isinstance(made, Finished)
    assert [output.url for output in made.outputs] == ["https://k/8.mp3"]
    assert made.parameters == {"audio_id": "8", "duration": 1.5}
    with pytest.raises(ContentBlocked):
        await spoken({"task_status": "failed", "task_status_msg": "risk control"}).submit(said)
    with pytest.raises(OutcomeUnknown):
        await spoken({"task_status": "processing"}).submit(said)
    assert not answering(200, {}).can_find(said)


async def test_a_series_is_as_many_pictures_as_it_has(world: World) -> None:
    options = {"result_type": "series", "series_amount": 3}
    state = await world.made(call("kling-image-o1", "text-to-image", options=options))
    assert len(state.outputs) == 3


@pytest.mark.parametrize(
    ("model", "given", "cost"),
    [
        ("kling-3.0", {}, 84),
        ("kling-3.0", {"audio": True}, 126),
        ("kling-3.0", {"audio": True, "resolution": "1080p"}, 168),
        ("kling-3.0", {"audio": True, "resolution": "4k"}, 420),
        ("kling-2.6", {"audio": True}, 140),
        ("kling-2.6", {"resolution": "1080p"}, 70),
        ("kling-video-o1", {}, 112),
        ("kling-video-o1", {"resolution": "720p"}, 84),
    ],
)
def test_a_second_costs_what_is_asked_of_it(model: str, given: dict[str, Any], cost: int) -> None:
    operation = Operation.TEXT_TO_VIDEO
    price = SPECS[model].price_of(operation)
    assert price is not None
    asked = {"duration": 5, **given}
    assert most(terms(price, SPECS[model].operations[operation], asked, {})) == 5 * cost


async def test_a_lip_sync_lets_the_first_face_speak(files: Files) -> None:
    media = {"audio": [files[MediaKind.AUDIO]]}
    options = {"video_id": "7", "sound_volume": 2, "watermark_info": {"enabled": True}}
    path, body = await sent_by(call("lip-sync", "video-to-video", {}, media=media, options=options))
    assert path == "/v1/videos/advanced-lip-sync"
    (face,) = body.pop("face_choose")
    assert body == {
        "session_id": "s",
        "watermark_info": {"enabled": True},
        "external_task_id": "gen_1-0-1",
    }
    assert face == {
        "face_id": "0",
        "sound_file": files[MediaKind.AUDIO].base64(),
        "sound_start_time": 0,
        "sound_end_time": 1000,
        "sound_insert_time": 40,
        "sound_volume": 2,
    }


@pytest.mark.parametrize(
    ("model", "operation", "field"),
    [
        ("lip-sync", "video-to-video", "input.video"),
        ("video-sound", "video-to-video", "input.video"),
        ("avatar", "image-to-video", "input.audio"),
        ("image-expand", "image-to-image", "provider_options.up_expansion_ratio"),
        ("speech", "text-to-speech", "provider_options.voice_language"),
        ("video-extend", "video-to-video", "provider_options.video_id"),
        ("effects", "image-to-video", "provider_options.effect_scene"),
    ],
)
async def test_what_a_call_is_nothing_without(model: str, operation: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await sent_by(call(model, operation, {}))
    assert refused.value.field == field


async def test_a_video_has_to_be_open_to_the_cloud(files: Files) -> None:
    closed = Media(path=files[MediaKind.VIDEO].path, media_type="video/mp4")
    for model in ("kling-3.0-omni", "kling-video-o1", "lip-sync"):
        with pytest.raises(InvalidInput) as refused:
            await sent_by(call(model, "video-to-video", media={"video": [closed]}))
        assert refused.value.field == "input.video"


async def test_a_sound_is_no_video(files: Files) -> None:
    media = {"audio": [files[MediaKind.VIDEO]]}
    with pytest.raises(MediaRejected):
        await sent_by(call("lip-sync", "video-to-video", {}, media=media, options={"video_id": "7"}))


async def test_a_video_without_a_face_is_refused(files: Files) -> None:
    body = {"code": 0, "message": "SUCCEED", "data": {"session_id": "s", "face_data": []}}
    account = answering(200, body)
    with pytest.raises(InvalidInput, match="no face"):
        await account.submit(call("lip-sync", "video-to-video", {}, options={"video_id": "7", "audio_id": "8"}))
