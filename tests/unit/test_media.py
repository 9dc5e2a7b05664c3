"""Real files of every kind, whole, damaged, oversized and disguised."""

from __future__ import annotations

import io
import math
import random
import struct
import time
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image, ImageDraw

from genpulse.errors import MediaRejected
from genpulse.media import MediaLimits, poster, probe, streams
from genpulse.schemas.states import MediaKind

LIMITS = MediaLimits(max_bytes=10**7, max_pixels=10**8, max_frames=1000, max_seconds=60)


def limits(**changes: float) -> MediaLimits:
    return MediaLimits(**{**vars(LIMITS), **changes})


def picture(size: tuple[int, int] = (64, 48), mode: str = "RGB", seed: int = 0) -> Image.Image:
    image = Image.effect_noise(size, 60).convert(mode)
    ImageDraw.Draw(image).rectangle((seed, 4, seed + 9, 20), fill="white")
    return image


def image_bytes(form: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, format=form, **options)
    return buffer.getvalue()


def write_video(  # noqa: PLR0917
    path: Path,
    codec: str = "libx264",
    form: str = "mp4",
    frames: int = 16,
    fps: int = 8,
    size: tuple[int, int] = (64, 48),
    draw: Callable[[int], Image.Image] | None = None,
    **options: str,
) -> Path:
    with av.open(str(path), "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = draw(number) if draw else picture(size, seed=number % 20)
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path


def write_audio(path: Path, codec: str, form: str, seconds: float = 2.0, rate: int = 24_000, **options: str) -> Path:
    with av.open(str(path), "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, AudioStream)
        container.mux(stream.encode(sound(seconds, rate)))
        container.mux(stream.encode())
    return path


def sound(seconds: float, rate: int) -> av.AudioFrame:
    samples = round(seconds * rate)
    frame = av.AudioFrame(format="s16", layout="mono", samples=samples)
    frame.planes[0].update(struct.pack(f"<{samples}h", *(round(9000 * math.sin(i / 20)) for i in range(samples))))
    frame.rate = rate
    return frame


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    short = path.with_name("cut")
    short.write_bytes(content[: int(len(content) * share)])
    return short


# --------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    ("form", "mode", "media_type"),
    [
        ("PNG", "RGB", "image/png"),
        ("PNG", "RGBA", "image/png"),
        ("PNG", "1", "image/png"),
        ("JPEG", "RGB", "image/jpeg"),
        ("JPEG", "CMYK", "image/jpeg"),
        ("WEBP", "RGBA", "image/webp"),
        ("GIF", "P", "image/gif"),
    ],
)
def test_a_picture_is_told_by_its_content_whatever_its_name(tmp_path, form, mode, media_type):
    path = tmp_path / "letter.txt"
    path.write_bytes(image_bytes(form, picture(mode=mode)))
    info = probe(path, limits=LIMITS)
    assert (info.kind, info.media_type, info.width, info.height) == (MediaKind.IMAGE, media_type, 64, 48)
    assert (info.duration, info.fps) == (None, None)


@pytest.mark.parametrize(("orientation", "size"), [(1, (64, 48)), (3, (64, 48)), (6, (48, 64)), (8, (48, 64))])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_width_and_height_are_those_a_viewer_sees(tmp_path, form, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo"
    path.write_bytes(image_bytes(form, exif=exif))
    info = probe(path, limits=LIMITS)
    assert (info.width, info.height) == size


def test_a_camera_s_jpeg_with_a_preview_is_a_picture(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(image_bytes("MPO", save_all=True, append_images=[picture((32, 24))]))
    assert probe(path, limits=LIMITS).media_type == "image/jpeg"


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused_with_what_to_send_instead(tmp_path, form):
    path = tmp_path / "moving"
    path.write_bytes(image_bytes(form, save_all=True, append_images=[picture(seed=30)]))
    with pytest.raises(MediaRejected, match=f"animated {form}.*send one frame, or an MP4 or WebM"):
        probe(path, limits=LIMITS)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_cut_off_picture_is_refused(tmp_path, form, share):
    path = tmp_path / "picture"
    path.write_bytes(image_bytes(form))
    with pytest.raises(MediaRejected, match=r"damaged or cut off.*send the whole file"):
        probe(cut(path, share), limits=LIMITS)


def png_claiming(width: int, height: int) -> bytes:
    """A few bytes that say they are a picture of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


@pytest.mark.parametrize("side", [12_000, 50_000])
def test_a_decompression_bomb_is_refused_whatever_the_limit(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(side, side))
    with pytest.raises(MediaRejected, match=r"far too many pixels.*scale it down"):
        probe(path, limits=limits(max_pixels=10**12))


def test_the_pixel_limit_is_checked_before_anything_is_decoded(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_claiming(64, 48))
    with pytest.raises(MediaRejected, match="64x48 has more than the 3,071 pixels accepted; scale it down") as caught:
        probe(path, limits=limits(max_pixels=64 * 48 - 1))
    assert caught.value.details == {"max_pixels": 3071}


def test_a_picture_at_the_pixel_limit_is_accepted(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(image_bytes("PNG"))
    assert probe(path, limits=limits(max_pixels=64 * 48)).width == 64


def test_a_tiny_png_is_probed_in_less_than_two_milliseconds(tmp_path):
    path = tmp_path / "tiny.png"
    path.write_bytes(image_bytes("PNG", picture((64, 64))))

    def seconds() -> float:
        start = time.perf_counter()
        probe(path, limits=LIMITS)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(20)) < 0.002


# ------------------------------------------------------------------------------------------------------ every file


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG.*export it as PNG"),
        (b"  <SVG onload='alert(1)'/>", "SVG.*export it as PNG"),
        (b"<!doctype html><html><body>hello</body></html>", "text/html.*send PNG"),
        (b"%PDF-1.7\n1 0 obj", "application/pdf.*send PNG"),
        (b"hello there", "no known media file; send PNG"),
        (b"\0" * 100, "send PNG"),
        (b"P", "no known media file"),
        (b"\xff", "send PNG"),
        (b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n", "mpegurl.*send PNG"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "send PNG"),
        (b"RIFF\x24\0\0\0AVI LIST" + b"\0" * 30, "send PNG"),
        (b"\0\0\0\x20ftypheic" + b"\0" * 30, "hei[cf].*send PNG"),
        (
            b"\x1aE\xdf\xa3\xa3B\x86\x81\x01B\xf7\x81\x01B\x82\x88matroska" + b"\0" * 30,
            "Matroska.*repackage it as WebM",
        ),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else "",
)
def test_other_content_is_refused_by_name_even_when_called_png(tmp_path, content, why):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(MediaRejected, match=why):
        probe(path, limits=LIMITS)


@pytest.mark.parametrize("form", ["AVIF", "BMP", "TIFF", "ICO"])
def test_pictures_of_other_formats_are_refused(tmp_path, form):
    path = tmp_path / "picture.png"
    path.write_bytes(image_bytes(form))
    with pytest.raises(MediaRejected, match="not supported; send PNG"):
        probe(path, limits=LIMITS)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(MediaRejected, match="empty; send the whole file"):
        probe(path, limits=LIMITS)


def test_the_byte_limit_counts_every_byte(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(content := image_bytes("PNG"))
    assert probe(path, limits=limits(max_bytes=len(content))).width == 64
    with pytest.raises(MediaRejected, match="compress it or make it smaller") as caught:
        probe(path, limits=limits(max_bytes=len(content) - 1))
    assert caught.value.details == {"max_bytes": len(content) - 1}


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    return [
        *(image_bytes(form) for form in ("PNG", "JPEG", "WEBP", "GIF")),
        write_video(folder / "a").read_bytes(),
        write_video(folder / "b", "libvpx-vp9", "webm").read_bytes(),
        write_audio(folder / "c", "libmp3lame", "mp3", seconds=0.2).read_bytes(),
        write_audio(folder / "d", "libopus", "ogg", seconds=0.2).read_bytes(),
        write_audio(folder / "e", "flac", "flac", seconds=0.2).read_bytes(),
    ]


@pytest.mark.parametrize("seed", [*range(150), 349, 710, 1319, 1329])
def test_damage_anywhere_is_refused_or_harmless_but_never_a_crash(tmp_path, samples, seed):
    chance = random.Random(seed)
    content = bytearray(chance.choice(samples))
    for _ in range(chance.randint(1, 8)):
        content[chance.randint(8, len(content) - 1)] = chance.randint(0, 255)
    path = tmp_path / "damaged"
    path.write_bytes(content[: chance.randint(8, len(content))])
    try:
        info = probe(path, limits=LIMITS)
    except MediaRejected as error:
        assert ";" in error.message  # noqa: PT017  # what to do follows what is wrong
    else:
        assert info.kind is MediaKind.AUDIO or (info.width and info.height)


# ------------------------------------------------------------------------------------------------------------ video


@pytest.mark.parametrize(
    ("codec", "form", "media_type"),
    [
        ("libx264", "mp4", "video/mp4"),
        ("libx265", "mp4", "video/mp4"),
        ("libx264", "mov", "video/quicktime"),
        ("libvpx", "webm", "video/webm"),
        ("libvpx-vp9", "webm", "video/webm"),
    ],
)
def test_a_video_s_facts_are_read(tmp_path, codec, form, media_type):
    info = probe(write_video(tmp_path / "clip", codec, form, frames=36, fps=24), limits=LIMITS)
    assert (info.kind, info.media_type, info.width, info.height) == (MediaKind.VIDEO, media_type, 64, 48)
    assert info.duration == pytest.approx(1.5, abs=0.002)
    assert info.fps == 24.0


@pytest.mark.parametrize("options", [{"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}])
def test_every_layout_of_mp4_is_read(tmp_path, options):
    info = probe(write_video(tmp_path / "clip", **options), limits=LIMITS)
    assert (info.duration, info.fps) == (2.0, 8.0)


def test_a_recorder_s_webm_without_a_stated_length_is_measured(tmp_path):
    path = write_video(tmp_path / "clip", "libvpx", "webm", live="1")
    with av.open(str(path)) as container:
        assert not container.duration
    assert probe(path, limits=LIMITS).duration == 2.0


def test_a_video_of_one_frame_has_a_duration(tmp_path):
    assert probe(write_video(tmp_path / "clip", frames=1), limits=LIMITS).duration == 0.125


def test_a_frame_rate_that_the_frames_do_not_bear_out_is_counted(tmp_path):
    path = write_video(tmp_path / "clip", "libvpx", "webm")
    content = path.read_bytes()
    default_duration = content.index(b"\x23\xe3\x83")  # nanoseconds per frame
    length = content[default_duration + 3] & 0x7F
    start = default_duration + 4
    path.write_bytes(content[:start] + (1_000_000).to_bytes(length, "big") + content[start + length :])
    assert probe(path, limits=LIMITS).fps == pytest.approx(8.0, rel=0.1)


def test_an_old_mov_without_a_brand_is_quicktime(tmp_path):
    content = write_video(tmp_path / "clip", form="mov").read_bytes()
    size = int.from_bytes(content[:4], "big")
    path = tmp_path / "old"
    path.write_bytes(size.to_bytes(4, "big") + b"skip" + content[8:])
    assert probe(path, limits=LIMITS).media_type == "video/quicktime"


def turn(path: Path) -> Path:
    """Make the display matrix of an MP4 say: turn me by a quarter clockwise, as phones do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(content)
    return path


def test_a_phone_s_upright_video_has_upright_sides(tmp_path):
    info = probe(turn(write_video(tmp_path / "clip")), limits=LIMITS)
    assert (info.width, info.height) == (48, 64)


@pytest.mark.parametrize(
    ("codec", "form", "options", "share"),
    [
        ("libx264", "mp4", {}, 0.7),
        ("libx264", "mp4", {"movflags": "faststart"}, 0.7),
        ("libx264", "mp4", {"movflags": "faststart"}, 0.99),
        ("libx264", "mp4", {"movflags": "frag_keyframe+empty_moov"}, 0.7),
        ("libx264", "mov", {}, 0.7),
        ("libvpx-vp9", "webm", {}, 0.7),
    ],
)
def test_a_cut_off_video_is_refused(tmp_path, codec, form, options, share):
    path = write_video(tmp_path / "clip", codec, form, **options)
    with pytest.raises(MediaRejected, match="send the whole file"):
        probe(cut(path, share), limits=LIMITS)


def test_a_video_cut_off_between_two_frames_is_refused(tmp_path):
    path = write_video(tmp_path / "clip", movflags="faststart")
    with av.open(str(path)) as container:
        last = list(container.streams.video[0].index_entries)[-1].pos
    path.write_bytes(path.read_bytes()[:last])
    with pytest.raises(MediaRejected, match="ends before its last frame"):
        probe(path, limits=LIMITS)


def with_damaged_frame(path: Path, number: int) -> Path:
    with av.open(str(path)) as container:
        # An entry is a view of the container's memory: to be read before that is freed.
        entry = list(container.streams.video[0].index_entries)[number]
        start, end = entry.pos + 4, entry.pos + entry.size  # behind the length of the unit
    content = bytearray(path.read_bytes())
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(content)
    return path


def test_damage_in_the_middle_of_a_video_is_found(tmp_path):
    path = with_damaged_frame(write_video(tmp_path / "clip"), 9)
    with pytest.raises(MediaRejected, match="damaged"):
        probe(path, limits=LIMITS)


def test_of_a_very_long_video_only_key_frames_are_decoded(tmp_path, monkeypatch):
    path = with_damaged_frame(write_video(tmp_path / "clip"), 14)
    monkeypatch.setattr(streams, "_FULL_DECODE_PIXELS", 64 * 48)
    info = probe(path, limits=LIMITS)
    assert info.duration == 2.0


def test_a_file_that_takes_forever_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_PATIENCE_SECONDS", -1.0)
    with pytest.raises(MediaRejected, match="could not be decoded within"):
        probe(write_video(tmp_path / "clip"), limits=LIMITS)


@pytest.mark.parametrize(
    ("accepted", "refused", "why"),
    [
        ({"max_frames": 16}, {"max_frames": 15}, "more than the 15 frames accepted; cut it"),
        ({"max_seconds": 2}, {"max_seconds": 1.9}, r"longer than the 1\.9 seconds accepted; cut it"),
        ({"max_pixels": 64 * 48}, {"max_pixels": 64 * 48 - 1}, "64x48 has more than the 3,071 pixels"),
    ],
)
def test_a_video_over_a_limit_is_refused_and_one_at_it_accepted(tmp_path, accepted, refused, why):
    path = write_video(tmp_path / "clip")
    assert probe(path, limits=limits(**accepted)).width == 64
    with pytest.raises(MediaRejected, match=why) as caught:
        probe(path, limits=limits(**refused))
    assert caught.value.details == refused


def encoded(size: tuple[int, int]) -> list[av.Packet]:
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.framerate, encoder.time_base = "yuv420p", Fraction(8), Fraction(1, 8)
    return [*encoder.encode(av.VideoFrame.from_image(picture(size))), *encoder.encode()]


@pytest.mark.parametrize("size", [(128, 96), (512, 384)])
def test_frames_that_grow_behind_a_small_beginning_are_refused(tmp_path, size):
    path = tmp_path / "clip"
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, packet in enumerate([*encoded((64, 48)), *encoded(size)]):
            packet.pts = packet.dts = number
            packet.stream = stream
            container.mux(packet)
    with pytest.raises(MediaRejected):
        probe(path, limits=limits(max_pixels=128 * 96 - 1))


def test_a_codec_that_nothing_decodes_is_refused_by_that_reason(tmp_path):
    path = write_video(tmp_path / "clip")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(MediaRejected, match=r"codec that is not supported; send H\.264"):
        probe(path, limits=LIMITS)


def without_content(path: Path) -> Path:
    """What is left of a live WebM when only its header came through."""
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75") + 4])  # the id of the first cluster
    return path


def test_headers_without_content_are_refused(tmp_path):
    video = without_content(write_video(tmp_path / "video", "libvpx", "webm", live="1"))
    with pytest.raises(MediaRejected, match="no frame can be decoded"):
        probe(video, limits=LIMITS)
    with pytest.raises(MediaRejected, match="no frame can be decoded"):
        poster(video, tmp_path / "still.jpg")
    with pytest.raises(MediaRejected, match="no sound can be decoded"):
        probe(without_content(write_audio(tmp_path / "sound", "libopus", "webm", live="1")), limits=LIMITS)


def test_a_container_without_any_track_is_refused(tmp_path):
    path = write_video(tmp_path / "clip")
    path.write_bytes(path.read_bytes().replace(b"trak", b"free"))
    with pytest.raises(MediaRejected, match="neither video nor sound"):
        probe(path, limits=LIMITS)


def test_ogg_with_moving_pictures_is_refused(tmp_path):
    path = write_video(tmp_path / "clip", "libvpx", "ogg")
    with pytest.raises(MediaRejected, match="ogg with moving pictures is not supported; send MP4"):
        probe(path, limits=LIMITS)


def test_a_long_sound_beside_a_short_picture_counts_as_long(tmp_path):
    path = tmp_path / "clip"
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=8)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=24_000, layout="mono")
        container.mux(video.encode(av.VideoFrame.from_image(picture())))
        container.mux(video.encode())
        container.mux(audio.encode(sound(5, 24_000)))
        container.mux(audio.encode())
    assert probe(path, limits=LIMITS).duration == 0.125
    with pytest.raises(MediaRejected, match="longer than the 4 seconds"):
        probe(path, limits=limits(max_seconds=4))


# ------------------------------------------------------------------------------------------------------------ sound


@pytest.mark.parametrize(
    ("codec", "form", "media_type"),
    [
        ("pcm_s16le", "wav", "audio/wav"),
        ("libmp3lame", "mp3", "audio/mpeg"),
        ("libopus", "ogg", "audio/ogg"),
        ("flac", "flac", "audio/flac"),
        ("aac", "ipod", "audio/mp4"),
        ("libopus", "webm", "audio/webm"),
    ],
)
def test_a_sound_s_facts_are_read(tmp_path, codec, form, media_type):
    path = write_audio(tmp_path / "sound", codec, form)
    info = probe(path, limits=LIMITS)
    assert (info.kind, info.media_type) == (MediaKind.AUDIO, media_type)
    assert (info.width, info.height, info.fps) == (None, None, None)
    assert info.duration == pytest.approx(2.0, abs=0.06)
    with pytest.raises(MediaRejected, match="longer than the 1 seconds"):
        probe(path, limits=limits(max_seconds=1))


def test_an_mp3_without_a_tag_is_known_by_its_frames(tmp_path):
    content = write_audio(tmp_path / "sound", "libmp3lame", "mp3").read_bytes()
    path = tmp_path / "bare"
    path.write_bytes(content[content.index(b"\xff\xf3") :])
    assert probe(path, limits=LIMITS).media_type == "audio/mpeg"


def test_a_cover_picture_makes_no_video_of_a_sound(tmp_path):
    path = tmp_path / "sound"
    with av.open(str(path), "w", format="mp3") as container:
        audio = container.add_stream("libmp3lame", rate=24_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_image(picture())))
        container.mux(cover.encode())
        container.mux(audio.encode(sound(1, 24_000)))
        container.mux(audio.encode())
    assert probe(path, limits=LIMITS).media_type == "audio/mpeg"


@pytest.mark.parametrize(("codec", "form"), [("pcm_s16le", "wav"), ("flac", "flac"), ("aac", "ipod")])
def test_a_cut_off_sound_is_refused(tmp_path, codec, form):
    path = write_audio(tmp_path / "sound", codec, form)
    with pytest.raises(MediaRejected, match="send the whole file"):
        probe(cut(path, 0.7), limits=LIMITS)


# ----------------------------------------------------------------------------------------------------------- poster


def blank(colour: str, size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_the_poster_is_a_jpeg_from_half_a_second_on(tmp_path):
    path = write_video(tmp_path / "clip", draw=lambda number: blank("black" if number < 4 else "white"))
    poster(path, tmp_path / "still.jpg")
    with Image.open(tmp_path / "still.jpg") as still:
        assert (still.format, still.size) == ("JPEG", (64, 48))
        assert still.convert("L").getextrema() == (255, 255)


def test_the_poster_of_a_shorter_clip_is_its_last_frame(tmp_path):
    path = write_video(tmp_path / "clip", frames=3, draw=lambda number: blank("white" if number == 2 else "black"))
    poster(path, tmp_path / "still.jpg")
    with Image.open(tmp_path / "still.jpg") as still:
        assert still.convert("L").getextrema() == (255, 255)


def test_the_poster_is_upright(tmp_path):
    def top_red(_: int) -> Image.Image:
        image = blank("blue")
        image.paste("red", (0, 0, 64, 24))
        return image

    poster(turn(write_video(tmp_path / "clip", draw=top_red)), tmp_path / "still.jpg")
    with Image.open(tmp_path / "still.jpg") as still:
        assert still.size == (48, 64)
        red, _, blue = still.getpixel((40, 32))  # type: ignore[misc]
    assert red > blue  # the top is on the right after a quarter clockwise


def test_the_poster_of_a_large_video_is_bounded(tmp_path):
    path = write_video(tmp_path / "clip", frames=1, size=(1920, 1080))
    poster(path, tmp_path / "still.jpg")
    with Image.open(tmp_path / "still.jpg") as still:
        assert still.size == (1280, 720)


def test_only_a_video_has_a_poster(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(image_bytes("PNG"))
    with pytest.raises(MediaRejected, match="this is a picture"):
        poster(path, tmp_path / "still.jpg")
    with pytest.raises(MediaRejected, match="this is sound only"):
        poster(write_audio(tmp_path / "sound", "flac", "flac"), tmp_path / "still.jpg")
    with pytest.raises(MediaRejected, match="damaged"):
        poster(with_damaged_frame(write_video(tmp_path / "clip"), 2), tmp_path / "still.jpg")
    assert not (tmp_path / "still.jpg").exists()
