"""Images are made to fit by losing as little as possible, and what was done is said."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from genpulse.adapters import Fitted, encode_image, fit_image, fitting_size, needs_fitting
from genpulse.errors import InvalidInput, InvariantBroken, MediaRejected
from genpulse.media import MediaLimits, probe
from genpulse.schemas.assets import MediaInfo
from genpulse.schemas.catalog import ImageRules, Size
from genpulse.schemas.states import MediaKind

LIMITS = MediaLimits(max_bytes=10**8, max_pixels=10**8, max_frames=1, max_seconds=1)
SQUARE = ImageRules(sizes=(Size(64, 64),))


def disc(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A red disc in the middle of a blue picture."""
    image = Image.new(mode, size, "blue")
    ImageDraw.Draw(image).circle((size[0] / 2, size[1] / 2), min(size) / 4, fill="red")
    return image


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise(size, 90) for _ in range(3)])


def saved(path: Path, image: Image.Image, form: str = "PNG", **options: object) -> Path:
    image.save(path, format=form, **options)
    return path


def info(size: tuple[int, int], media_type: str = "image/png") -> MediaInfo:
    return MediaInfo(
        kind=MediaKind.IMAGE, media_type=media_type, width=size[0], height=size[1], duration=None, fps=None
    )


def fitted(source: Path, rules: ImageRules, target: Size | None = None) -> tuple[Fitted, Image.Image]:
    """Fit, check that what is said of the file is true and that the rules accept it, and open it."""
    result = fit_image(source, rules, source.with_name("fitted"), target=target)
    assert result is not None
    found = probe(result.path, limits=LIMITS)
    assert (found.media_type, found.width, found.height) == (result.media_type, *result.size)
    assert result.path.stat().st_size == result.bytes
    assert needs_fitting(found, result.bytes, rules, target=target) is None
    return result, Image.open(io.BytesIO(result.path.read_bytes()))


def near(pixel: object, colour: tuple[int, ...]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 12 for a, b in zip(pixel, colour, strict=True))


RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)

# ------------------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("size", "rules", "target", "expected"),
    [
        ((640, 480), ImageRules(), None, (640, 480)),
        ((640, 480), ImageRules(), (64, 64), (64, 64)),
        ((128, 96), SQUARE, None, (64, 64)),
        ((128, 96), SQUARE, (32, 32), (64, 64)),
        ((100, 100), ImageRules(multiple_of=64), None, (128, 128)),
        ((1000, 500), ImageRules(max_side=512), None, (512, 256)),
        ((20, 10), ImageRules(min_side=64), None, (128, 64)),
        ((1000, 500), ImageRules(max_pixels=125_000), None, (500, 250)),
        ((1000, 100), ImageRules(max_aspect=2.0), None, (1000, 500)),
        ((100, 1000), ImageRules(min_aspect=0.5), None, (500, 1000)),
        ((1600, 900), ImageRules(sizes=(Size(512, 512), Size(1280, 768))), None, (1280, 768)),
        ((900, 1600), ImageRules(sizes=(Size(1280, 720), Size(720, 1280))), None, (720, 1280)),
        ((1600, 900), ImageRules(sizes=(Size(1024, 576), Size(1920, 1088))), None, (1920, 1088)),
    ],
)
def test_the_nearest_accepted_size_is_chosen(size, rules, target, expected):
    assert fitting_size(Size(*size), rules, target=Size(*target) if target else None) == expected


sides = st.integers(1, 4000)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(Size, sides, sides),
    st.builds(
        lambda low, span, step, narrow, wide: ImageRules(
            min_side=low, max_side=low + step + span, multiple_of=step, min_aspect=narrow, max_aspect=wide
        ),
        st.integers(1, 800),
        st.integers(0, 1200),
        st.sampled_from([1, 2, 8, 14, 64]),
        st.floats(0, 1),
        st.floats(1, 20),
    ),
    st.none() | st.builds(Size, sides, sides),
)
def test_whatever_the_rules_the_chosen_size_keeps_them(size, rules, target):
    chosen = fitting_size(size, rules, target=target)
    assert all(rules.min_side <= side <= rules.max_side and side % rules.multiple_of == 0 for side in chosen)
    assert rules.min_aspect <= chosen.width / chosen.height <= rules.max_aspect
    assert fitting_size(chosen, rules) == chosen


def test_rules_that_leave_no_size_are_a_fault_of_ours():
    with pytest.raises(InvariantBroken, match="leave no size"):
        fitting_size(Size(64, 64), ImageRules(min_side=65, max_side=100, multiple_of=64))


# ----------------------------------------------------------------------------------------------------- needs_fitting


@pytest.mark.parametrize(
    ("size", "media_type", "size_bytes", "rules", "why"),
    [
        ((64, 64), "image/png", 100, SQUARE, None),
        ((128, 96), "image/png", 100, SQUARE, "its size is 128x96 and 64x64 is needed"),
        ((128, 96), "image/png", 100, ImageRules(), None),
        (
            (64, 64),
            "image/gif",
            100,
            ImageRules(media_types=("image/png", "image/jpeg")),
            "its format is image/gif and image/png or image/jpeg is needed",
        ),
        ((64, 64), "image/png", 1000, ImageRules(max_bytes=1000), None),
        (
            (64, 64),
            "image/png",
            1001,
            ImageRules(max_bytes=1000),
            "it has 1,001 bytes and at most 1,000 are accepted",
        ),
    ],
)
def test_the_reason_for_fitting_is_told_from_facts(size, media_type, size_bytes, rules, why):
    assert needs_fitting(info(size, media_type), size_bytes, rules) == why


def test_an_image_of_another_size_than_the_next_step_s_needs_fitting():
    facts = info((128, 96))
    assert needs_fitting(facts, 1, ImageRules(), target=Size(64, 64)) == "its size is 128x96 and 64x64 is needed"
    assert needs_fitting(facts, 1, ImageRules(), target=Size(128, 96)) is None


# --------------------------------------------------------------------------------------------------------- pictures


def test_an_image_that_fits_is_left_alone(tmp_path):
    source = saved(tmp_path / "source", disc((64, 64)))
    rules = ImageRules(sizes=(Size(64, 64),), max_bytes=source.stat().st_size)
    assert fit_image(source, rules, tmp_path / "fitted") is None
    assert not (tmp_path / "fitted").exists()


def test_the_same_shape_is_scaled_only(tmp_path):
    result, picture = fitted(saved(tmp_path / "source", disc((128, 128))), SQUARE)
    assert result.message == "the image was resized from 128x128 to 64x64"
    assert near(picture.getpixel((32, 32)), RED)
    assert near(picture.getpixel((32, 60)), BLUE)


def test_a_slightly_different_shape_is_cropped_around_the_centre(tmp_path):
    image = disc((80, 64))
    image.paste("white", (0, 0, 8, 64))
    image.paste("white", (72, 0, 80, 64))
    result, picture = fitted(saved(tmp_path / "source", image), SQUARE)
    assert result.message == "the image was resized from 80x64 to 64x64 and cropped by 20%"
    assert near(picture.getpixel((1, 32)), BLUE)
    assert near(picture.getpixel((62, 32)), BLUE)


def test_a_very_different_shape_is_kept_whole_and_padded_in_its_border_s_colour(tmp_path):
    image = disc((128, 64))
    image.paste("white", (0, 20, 4, 44))
    result, picture = fitted(saved(tmp_path / "source", image), SQUARE)
    assert result.message == "the image was resized from 128x64 to 64x64 and padded"
    assert near(picture.getpixel((0, 32)), WHITE)
    assert near(picture.getpixel((32, 32)), RED)
    assert all(near(picture.getpixel((x, y)), BLUE) for x in (0, 32, 63) for y in (0, 8, 56, 63))


def test_the_target_size_is_met(tmp_path):
    result, _ = fitted(saved(tmp_path / "source", disc((128, 128))), ImageRules(), target=Size(48, 48))
    assert result.size == (48, 48)


def test_an_unsupported_format_is_converted_to_the_first_accepted(tmp_path):
    source = saved(tmp_path / "source", disc((64, 64)).quantize(), "GIF")
    result, picture = fitted(source, ImageRules(media_types=("image/webp", "image/png")))
    assert result.message == "the image was converted from image/gif to image/webp"
    assert near(picture.convert("RGB").getpixel((32, 32)), RED)


def test_an_accepted_format_is_kept_when_only_the_size_changes(tmp_path):
    result, _ = fitted(saved(tmp_path / "source", disc((128, 128)), "JPEG"), SQUARE)
    assert result.media_type == "image/jpeg"


def half_transparent(size: tuple[int, int] = (64, 64)) -> Image.Image:
    image = disc(size).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(size))
    return image


def test_transparency_is_kept_where_a_format_can(tmp_path):
    source = saved(tmp_path / "source", half_transparent(), "WEBP")
    result, picture = fitted(source, ImageRules(media_types=("image/jpeg", "image/png")))
    assert result.media_type == "image/png"
    assert picture.mode == "RGBA"


def test_transparency_becomes_white_where_only_jpeg_is_accepted(tmp_path):
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 64, 32))
    result, picture = fitted(saved(tmp_path / "source", image), ImageRules(media_types=("image/jpeg",)))
    assert result.message == "the image was converted from image/png to image/jpeg, put on white"
    assert near(picture.getpixel((32, 8)), BLUE)
    assert near(picture.getpixel((32, 56)), WHITE)


def test_an_alpha_channel_without_any_transparency_is_dropped(tmp_path):
    source = saved(tmp_path / "source", disc((64, 64)).convert("RGBA"))
    result, _ = fitted(source, ImageRules(media_types=("image/jpeg", "image/webp")))
    assert (result.media_type, "white" in result.message) == ("image/jpeg", False)


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (64, 32), "blue")
    image.paste("red", (0, 0, 8, 32))  # on the left as stored, on top as seen
    source = saved(tmp_path / "source", image, "JPEG", exif=exif, quality=95)
    result, picture = fitted(source, ImageRules())
    assert (result.message, result.size) == ("the image was turned upright", (32, 64))
    assert near(picture.getpixel((16, 2)), RED)
    assert near(picture.getpixel((2, 60)), BLUE)


def test_a_camera_s_jpeg_with_a_preview_counts_as_jpeg(tmp_path):
    source = saved(tmp_path / "source", disc((64, 64)), "MPO", save_all=True, append_images=[disc((8, 8))])
    assert fit_image(source, ImageRules(media_types=("image/jpeg",)), tmp_path / "fitted") is None


def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path):
    source = saved(tmp_path / "source", Image.new("I;16", (128, 128), 0x8000))
    _, picture = fitted(source, SQUARE)
    assert near(picture.getpixel((32, 32)), (128, 128, 128))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_every_colour_mode_is_read(tmp_path, mode):
    image = Image.new("L", (128, 128), 255).convert(mode)
    _, picture = fitted(saved(tmp_path / "source", image, "JPEG" if mode == "CMYK" else "PNG"), SQUARE)
    assert near(picture.convert("RGB").getpixel((32, 32)), WHITE)


# ------------------------------------------------------------------------------------------------------------ weight


def test_a_heavy_file_is_compressed_in_its_own_size(tmp_path):
    source = saved(tmp_path / "source", noise((256, 256)))
    result, _ = fitted(source, ImageRules(max_bytes=100_000))
    assert (result.media_type, result.size) == ("image/jpeg", (256, 256))
    assert f"compressed from {source.stat().st_size:,} to {result.bytes:,} bytes" in result.message


def test_the_least_loss_that_suffices_is_taken_quality_first_size_last(tmp_path):
    source = saved(tmp_path / "source", noise((256, 256)))
    limit, sides = source.stat().st_size, []
    for _ in range(6):
        result, _ = fitted(source, ImageRules(max_bytes=limit - 1))
        assert result.bytes < limit
        limit = result.bytes
        sides.append(result.size.width)
    assert sides[:4] == [256] * 4
    assert sides[4] < 256


def test_a_file_that_stays_too_heavy_becomes_smaller(tmp_path):
    result, _ = fitted(saved(tmp_path / "source", noise((256, 256))), ImageRules(max_bytes=20_000, multiple_of=8))
    assert result.size.width < 256
    assert result.size.width == result.size.height


def test_a_file_that_stays_too_heavy_takes_a_smaller_one_of_the_sizes(tmp_path):
    rules = ImageRules(sizes=(Size(256, 256), Size(64, 64)), max_bytes=15_000)
    result, _ = fitted(saved(tmp_path / "source", noise((256, 256))), rules, target=None)
    assert result.size == (64, 64)


def test_a_model_of_png_alone_gets_a_smaller_png(tmp_path):
    rules = ImageRules(media_types=("image/png",), max_bytes=60_000)
    result, _ = fitted(saved(tmp_path / "source", noise((256, 256))), rules)
    assert (result.media_type, result.size) == ("image/png", (128, 128))


@pytest.mark.parametrize(
    ("rules", "target"),
    [
        (ImageRules(max_bytes=2000, sizes=(Size(256, 256),)), None),
        (ImageRules(max_bytes=2000), Size(256, 256)),
        (ImageRules(max_bytes=2000, min_side=256), None),
    ],
)
def test_what_cannot_be_made_light_enough_is_refused(tmp_path, rules, target):
    source = saved(tmp_path / "source", noise((256, 256)))
    with pytest.raises(MediaRejected, match="under the 2,000 bytes that the model accepts; send a simpler one"):
        fit_image(source, rules, tmp_path / "fitted", target=target)
    assert not (tmp_path / "fitted").exists()


def test_rules_without_a_format_that_can_be_written_are_a_fault_of_ours(tmp_path):
    source = saved(tmp_path / "source", disc((64, 64)))
    with pytest.raises(InvariantBroken, match="no format that can be written"):
        fit_image(source, ImageRules(media_types=("image/heic",)), tmp_path / "fitted")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    form=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
    step=st.sampled_from([1, 8, 16]),
    types=st.lists(st.sampled_from(["image/png", "image/jpeg", "image/webp"]), min_size=1, unique=True),
)
def test_whatever_comes_the_result_keeps_the_rules_and_needs_no_second_fitting(tmp_path, size, form, step, types):
    source = saved(tmp_path / "source", disc(size), form)
    rules = ImageRules(
        media_types=tuple(types), min_side=16, max_side=128, multiple_of=step, max_aspect=3, min_aspect=0.3
    )
    result = fit_image(source, rules, tmp_path / "fitted")
    facts = probe(source, limits=LIMITS)
    assert (result is None) == (needs_fitting(facts, source.stat().st_size, rules) is None)
    if result:
        fitted(source, rules)
        assert fit_image(result.path, rules, tmp_path / "again") is None


# ---------------------------------------------------------------------------------------------------------- encoding


def link() -> str:
    return "https://files.example/x?signature=1"


@pytest.mark.parametrize(
    ("encodings", "asset_id", "linked", "encoding"),
    [
        (("asset", "url"), "ast_1", True, "asset"),
        (("asset", "url"), None, True, "url"),
        (("url", "base64"), "ast_1", True, "url"),
        (("url", "base64"), "ast_1", False, "base64"),
        (("base64", "url"), "ast_1", True, "base64"),
    ],
)
def test_the_first_possible_encoding_is_used(tmp_path, encodings, asset_id, linked, encoding):
    source = saved(tmp_path / "source", disc((8, 8)))
    rules = ImageRules(encodings=encodings)
    encoded = encode_image(source, rules, media_type="image/png", asset_id=asset_id, link=link if linked else None)
    assert encoded.encoding == encoding
    if encoding == "base64":
        head, _, body = encoded.value.partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(body) == source.read_bytes()
    else:
        assert encoded.value == {"asset": "ast_1", "url": link()}[encoding]


def test_an_encoding_that_is_impossible_here_is_named(tmp_path):
    source = saved(tmp_path / "source", disc((8, 8)))
    with pytest.raises(InvalidInput, match="only as url, which this installation cannot give; set its public address"):
        encode_image(source, ImageRules(encodings=("url",)), media_type="image/png", asset_id=None, link=None)
