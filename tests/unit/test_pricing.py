"""What a call costs: tables of cases, and what holds for every price, input and outcome."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from textwrap import wrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpulse.catalog import load_catalog, public_model
from genpulse.catalog.clouds import cloud_models
from genpulse.catalog.prices import BadPrice, check, repriced
from genpulse.pricing import MEGAPIXEL, Made, most, quote, terms, unpriced_options, used
from genpulse.schemas.catalog import FieldSpec, ModelSpec, NamedSize, OperationSpec, Price, Rate, Size, SizeRules
from genpulse.schemas.states import MediaKind, Operation
from genpulse.settings import CreditSettings

ROOT = Path(__file__).parents[2]
IMAGE, VIDEO, AUDIO = MediaKind


def field(kind: str, **limits: Any) -> FieldSpec:
    return FieldSpec.model_validate({"type": kind, "description": "x"} | limits)


WORDS = {"resolution": field("string", enum=("720p", "1080p")), "aspect_ratio": field("string")}
PROMPT = {"prompt": field("string", max_length=1000)}
PICTURES = OperationSpec(
    output=IMAGE,
    fields=PROMPT
    | {"count": field("integer", minimum=1, maximum=4, default=1), "reference_images": field("images")}
    | {"image": field("image"), "width": field("integer"), "height": field("integer")},
    sizes=SizeRules(native=Size(1024, 1024), max_side=4096, max_pixels=4 * MEGAPIXEL),
)
CLIPS = OperationSpec(
    output=VIDEO,
    fields=PROMPT
    | WORDS
    | {
        "duration": field("number", minimum=1, maximum=15, default=5),
        "audio": field("audio"),
        "last_image": field("image"),
    },
    named_sizes=(NamedSize(1280, 720, "16:9", "720p"), NamedSize(1920, 1080, "16:9", "1080p")),
)
EDITS = OperationSpec(output=VIDEO, fields=PROMPT | WORDS | {"video": field("video", required=True)})
SPEECH = OperationSpec(output=AUDIO, fields=PROMPT)


def test_the_price_of_an_option_is_known_where_a_rate_goes_by_it_or_it_changes_none() -> None:
    model = ModelSpec(provider="fal", name="x", description="x", queue="q", operations={}, options=("quality",))
    given = {"quality": "low", "negativePrompt": "x", "n": 4, "video": {"hdr": True, "loop": True}, "hd": {}}
    given["content"] = [{"type": "a"}, {"type": "b", "seed": 1}]
    assert unpriced_options(model, given) == ["n", "video.hdr", "hd", "content.type"]
    assert unpriced_options(model, given, ["fal/*:content.*", "*:h?", "kling/*"]) == ["n", "video.hdr"]


def price(unit: str, each: int, *rates: dict[str, Any], **others: Any) -> Price:
    return Price.model_validate({"unit": unit, "credits": each, "rates": rates} | others)


def image(width: int = 1024, height: int = 1024) -> Made:
    return Made(IMAGE, width, height)


def clip(seconds: float | None, kind: MediaKind = VIDEO) -> Made:
    return Made(kind, 1280, 720, seconds)


BY_RESOLUTION = price("second", 42, {"when": {"resolution": "1080p"}, "credits": 70})
BY_SOUND = price("second", 40, {"when": {"audio": True}, "credits": 80})
BY_PICTURES = price("second", 40, {"when": {"last_image": True}, "credits": 60})
BY_QUALITY = price("image", 200, {"when": {"options.quality": ["low", "draft"]}, "credits": 10})
BY_SIZE = price("image", 90, {"max_pixels": 2 * MEGAPIXEL, "credits": 45})
FLUX = price("megapixel", 15, first=30, inputs=15)
SIZE = {"width": 1024, "height": 1025}
ASSET = {"asset": "ast_1"}


@pytest.mark.parametrize(
    ("price", "operation", "given", "options", "cost"),
    [
        (price("call", 7), PICTURES, {"count": 3}, {}, 7),
        (price("image", 3), PICTURES, {}, {}, 3),
        (price("image", 3), PICTURES, {"count": 3}, {}, 9),
        (BY_QUALITY, PICTURES, {"count": 2}, {}, 400),
        (BY_QUALITY, PICTURES, {"count": 2}, {"quality": "low"}, 20),
        (BY_QUALITY, PICTURES, {"count": 2}, {"quality": "LOW"}, 400),
        (BY_SIZE, PICTURES, {}, {}, 45),
        (BY_SIZE, PICTURES, {"width": 2048, "height": 2048}, {}, 90),
        (BY_SIZE, PICTURES, {"width": 64}, {}, 90),
        (FLUX, PICTURES, {}, {}, 30),
        (FLUX, PICTURES, SIZE, {}, 45),
        (FLUX, PICTURES, {"count": 2} | SIZE, {}, 90),
        (FLUX, PICTURES, {"reference_images": [ASSET] * 3}, {}, 75),
        (FLUX, PICTURES, {"image": ASSET, "reference_images": [ASSET] * 3}, {}, 75 + 60),
        (FLUX, PICTURES, {"image": ASSET} | SIZE, {}, 60),
        (BY_RESOLUTION, CLIPS, {}, {}, 5 * 42),
        (BY_RESOLUTION, CLIPS, {"duration": 10, "resolution": "1080p"}, {}, 700),
        (BY_RESOLUTION, CLIPS, {"duration": 2.5}, {}, 3 * 42),
        (BY_SOUND, CLIPS, {"audio": False}, {}, 200),
        (BY_SOUND, CLIPS, {"audio": True}, {}, 400),
        (BY_SOUND, CLIPS, {"audio": ASSET}, {}, 400),
        (BY_PICTURES, CLIPS, {"last_image": ASSET}, {}, 300),
        (price("second", 10, at_most=30), EDITS, {"video": ASSET}, {}, 300),
        (price("second", 10, at_most=30), CLIPS, {}, {}, 50),
        (price("megapixel", 10, at_most=16), EDITS, {"video": ASSET}, {}, 160),
        (price("character", 60, per=1000), SPEECH, {"prompt": "x" * 50}, {}, 3),
        (price("character", 60, per=1000), SPEECH, {"prompt": "x" * 51}, {}, 4),
        (price("character", 60, per=1000), SPEECH, {"prompt": "好" * 25 + "ü、"}, {}, 4),
        (price("character", 60, per=1000), SPEECH, {}, {}, 0),
    ],
)
def test_at_most(
    price: Price, operation: OperationSpec, given: dict[str, Any], options: dict[str, Any], cost: int
) -> None:
    assert most(terms(price, operation, given, options)) == cost


@pytest.mark.parametrize(
    ("price", "operation", "given", "outputs", "cost"),
    [
        (price("image", 3), PICTURES, {"count": 4}, [image()] * 3, 9),
        (price("image", 3), PICTURES, {"count": 4}, [], 0),
        (price("image", 3), PICTURES, {"count": 1}, [image()] * 2, 3),
        (FLUX, PICTURES, {"image": ASSET} | SIZE, [image(1024, 1024)], 45),
        (FLUX, PICTURES, SIZE, [Made(IMAGE)], 45),
        (FLUX, PICTURES, {"image": ASSET}, [image()], 45),
        (BY_SIZE, PICTURES, {"image": ASSET}, [image()], 45),
        (BY_SIZE, PICTURES, {"image": ASSET}, [image(2048, 2048)], 90),
        (BY_SIZE, PICTURES, {"image": ASSET}, [Made(IMAGE)], 90),
        (price("call", 7), CLIPS, {}, [clip(5), clip(5)], 7),
        (price("call", 7), CLIPS, {}, [], 0),
        (BY_RESOLUTION, CLIPS, {"duration": 5}, [clip(5.04)], 210),
        (BY_RESOLUTION, CLIPS, {"duration": 5}, [clip(4.2)], 210),
        (BY_RESOLUTION, CLIPS, {"resolution": "1080p"}, [clip(5.04)], 350),
        (BY_RESOLUTION, CLIPS, {}, [image()], 0),
        (price("second", 10, at_most=30), EDITS, {}, [clip(7.04)], 70),
        (price("second", 10, at_most=30), EDITS, {}, [clip(7.2)], 80),
        (price("second", 10, at_most=30), EDITS, {}, [clip(0.02)], 10),
        (price("second", 10, at_most=30), EDITS, {}, [clip(None)], 300),
        (price("second", 10, at_most=30), EDITS, {}, [clip(31)], 300),
        (price("character", 60, per=1000), SPEECH, {"prompt": "x" * 51}, [clip(4, AUDIO)], 4),
        (price("character", 60, per=1000), SPEECH, {"prompt": "x" * 51}, [], 0),
    ],
)
def test_really(price: Price, operation: OperationSpec, given: dict[str, Any], outputs: list[Made], cost: int) -> None:
    assert used(terms(price, operation, given, {}), outputs) == cost


RATES = st.builds(
    Rate,
    when=st.fixed_dictionaries(
        {},
        optional={
            "resolution": st.sampled_from(["720p", ["720p", "1080p"]]),
            "audio": st.booleans(),
            "options.quality": st.sampled_from(["low", "high"]),
            "count": st.integers(1, 4),
        },
    ),
    max_pixels=st.none() | st.integers(1, 8 * MEGAPIXEL),
    credits=st.integers(0, 1000),
    first=st.none() | st.integers(0, 1000),
)
PRICES = st.builds(
    Price,
    unit=st.sampled_from(["image", "second", "megapixel", "character", "call"]),
    credits=st.integers(0, 10_000),
    first=st.none() | st.integers(0, 10_000),
    per=st.sampled_from([1, 7, 1000]),
    rates=st.lists(RATES, max_size=3).map(tuple),
    inputs=st.integers(0, 100),
    at_most=st.integers(1, 60),
)
INPUTS = st.fixed_dictionaries(
    {"prompt": st.text(max_size=40)},
    optional={
        "count": st.integers(1, 4),
        "duration": st.floats(0.5, 15),
        "resolution": st.sampled_from(["720p", "1080p"]),
        "aspect_ratio": st.sampled_from(["16:9", "1:1"]),
        "width": st.integers(1, 4096),
        "height": st.integers(1, 4096),
        "audio": st.booleans() | st.just(ASSET),
        "image": st.just(ASSET),
        "reference_images": st.lists(st.just(ASSET), max_size=3),
    },
)
OPTIONS = st.fixed_dictionaries({}, optional={"quality": st.sampled_from(["low", "high", {"is": "odd"}, None])})
SIDES = st.none() | st.integers(1, 8192)
OUTPUTS = st.lists(st.builds(Made, st.sampled_from(MediaKind), SIDES, SIDES, st.none() | st.floats(0, 900)), max_size=6)
OPERATIONS = st.sampled_from([PICTURES, CLIPS, EDITS, SPEECH])
MARKUPS = st.decimals(0, 3, places=2)


@given(PRICES, OPERATIONS, INPUTS, OPTIONS, st.data())
def test_what_is_used_is_never_more_than_what_was_held(
    price: Price, operation: OperationSpec, given: dict[str, Any], options: dict[str, Any], data: st.DataObject
) -> None:
    outputs, markup = data.draw(OUTPUTS), data.draw(MARKUPS)
    agreed = quote(price, operation, given, options, markup=markup).charge
    costs = [used(agreed, outputs[:count]) for count in range(len(outputs) + 1)]
    assert costs == sorted(costs), "more outputs cost less"
    assert {type(cost) for cost in costs} == {int}
    assert (costs[0], costs[-1] <= most(agreed)) == (0, True)


@given(PRICES, INPUTS, OPTIONS, st.sampled_from([PICTURES, CLIPS]))
def test_what_came_out_as_asked_for_costs_what_was_held(
    price: Price, given: dict[str, Any], options: dict[str, Any], operation: OperationSpec
) -> None:
    kind = VIDEO if price.unit == "second" else IMAGE
    outputs = [Made(kind)] * given.get("count", 1)
    agreed = terms(price, operation, given, options)
    assert used(agreed, outputs) == most(agreed)


@given(PRICES, OPERATIONS, INPUTS, OPTIONS, MARKUPS)
def test_a_markup_is_exact_to_the_credit(
    price: Price, operation: OperationSpec, given: dict[str, Any], options: dict[str, Any], markup: Decimal
) -> None:
    in_thousands = price.model_copy(update={"per": 1})
    bare = most(terms(in_thousands, operation, given, options))
    agreed = quote(price, operation, given, options, markup=markup)
    charged = most(agreed.charge)
    assert charged == -(-bare * (100 + int(markup * 100)) // (100 * price.per))
    assert most(agreed.cost) <= charged


@pytest.mark.parametrize(
    ("markup", "figure", "per"), [("0", 84, 1), ("0.25", 105, 1), ("0.1", 462, 5), ("0.33", 2793, 25)]
)
def test_a_price_is_shown_with_its_markup(markup: str, figure: int, per: int) -> None:
    (spec,) = repriced([model(price("second", 84))], {})
    shown = public_model(spec, "healthy", markup=Decimal(markup)).price
    assert shown is not None
    assert (shown.credits, shown.per) == (figure, per)


# What the catalogue takes ------------------------------------------------------------------------------------------


def model(of_all: Price | None = None, clips: Price | None = None, **others: Any) -> ModelSpec:
    operations = {
        Operation.TEXT_TO_VIDEO: CLIPS.model_copy(update={"price": clips}),
        Operation.VIDEO_TO_VIDEO: EDITS,
    }
    if of_all is not None and of_all.at_most is None:
        operations.pop(Operation.VIDEO_TO_VIDEO)
    made = ModelSpec(provider="kling", name="x", description="x", queue="q", operations=operations, price=of_all)
    return made.model_copy(update=others)


def rate(**when: Any) -> Price:
    return price("second", 10, {"when": {name.replace("__", "."): value for name, value in when.items()}, "credits": 5})


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        (rate(steps=1), "`steps`, a field that it does not have"),
        (rate(resolution="1080P"), "`resolution` of '1080P', which it cannot have"),
        (rate(resolution=["720p", "8k"]), "`resolution` of '8k'"),
        (rate(duration=16), "`duration` of 16"),
        (rate(duration=True), "`duration` of True"),
        (rate(last_image="x"), "`last_image` of 'x'"),
        (rate(last_image=False), "`last_image` of False"),
        (rate(options__fast=True), "`options.fast`, which is none of its `options`"),
        (price("image", 3), "by the image, and what comes out is video"),
        (price("megapixel", 3), "by the megapixel, and what comes out is video"),
        (price("second", 5, {"when": {"options.mode": "pro"}, "credits": 6}), "dearer by an option"),
    ],
)
def test_a_price_that_does_not_fit_its_model_is_refused(price: Price, problem: str) -> None:
    with pytest.raises(BadPrice, match="price of kling/x") as refused:
        check(model(price, options=("mode",)))
    assert problem in refused.value.message


def test_a_price_without_a_bound_is_refused() -> None:
    with pytest.raises(BadPrice, match="for video-to-video needs `at_most`"):
        repriced([model(price("second", 1, at_most=30))], {"kling/x:video-to-video": price("second", 3)})


@pytest.mark.parametrize("when", [{"resolution": "720p"}, {"audio": True}, {"audio": False}, {"options.mode": "x"}])
def test_a_price_that_fits_is_taken(when: dict[str, Any]) -> None:
    check(model(price("second", 10, {"when": when, "credits": 5}), options=("mode",)))


def test_every_price_of_the_catalogue_fits_its_model() -> None:
    for one in cloud_models():
        check(one)


def test_the_models_without_a_price_are_listed() -> None:
    """Where this fails: what it expected is the end of the document as it has to be."""
    listed = (ROOT / "docs" / "pricing.md").read_text().partition("are in brackets.\n\n")[2]
    assert listed.splitlines() == _without_price()


def _without_price() -> list[str]:
    by_provider = dict[str, list[str]]()
    for model in cloud_models():
        lacking = [name for name in model.operations if model.price_of(name) is None]
        if lacking and model.retires_at is None:
            only = "" if len(lacking) == len(model.operations) else f" ({', '.join(lacking)})"
            by_provider.setdefault(model.provider, []).append(f"`{model.name}`{only}")
    entries = [f"- {provider}: {', '.join(names)}" for provider, names in sorted(by_provider.items())]
    return [line for entry in entries for line in wrap(entry, 132, subsequent_indent="  ", break_on_hyphens=False)]


def test_prices_of_the_settings_go_in_place_of_the_catalogue() -> None:
    mine, edits = price("call", 1), price("call", 2)
    prices = {"kling/kling-3.0-omni": mine, "kling/kling-3.0-omni:video-to-video": edits}
    priced = load_catalog({}, ["kling"], CreditSettings(prices=prices)).get("kling/kling-3.0-omni")
    assert {priced.price_of(name) for name in priced.operations} == {mine, edits}
    assert priced.price_of(Operation.VIDEO_TO_VIDEO) == edits


def test_a_model_without_a_price_is_given_one() -> None:
    mine = {"kling/effects": price("call", 5)}
    assert load_catalog({}, ["kling"]).get("kling/effects").price is None
    assert (
        load_catalog({}, ["kling"], CreditSettings(prices=mine)).get("kling/effects").price_of(Operation.IMAGE_TO_VIDEO)
        is not None
    )


def test_a_price_of_all_its_operations_leaves_none_to_that_of_the_model() -> None:
    name = "kling/kling-2.6-motion-control"
    mine = {f"{name}:{Operation.VIDEO_TO_VIDEO}": price("second", 5, at_most=30)}
    found = load_catalog({}, ["kling"], CreditSettings(prices=mine)).get(name).price_of(Operation.VIDEO_TO_VIDEO)
    assert found is not None and found.credits == 5


def test_a_price_of_a_cloud_without_an_account_is_no_mistake() -> None:
    assert load_catalog({}, [], CreditSettings(prices={"kling/kling-3.0": price("call", 1)})).all() == []


@pytest.mark.parametrize("name", ["kling/kling-9", "kling/kling-3.0:text-to-image", "nobody/x", "kling-3.0"])
def test_a_price_of_nothing_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadPrice, match=f"of what there is not: {name}"):
        load_catalog({}, ["kling"], CreditSettings(prices={name: price("call", 1)}))
