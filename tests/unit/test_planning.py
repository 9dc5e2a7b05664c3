"""Planning: which steps a request becomes, and which requests are refused, by field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpulse.catalog import Catalog, engine_models, load_catalog, public_model
from genpulse.errors import AdaptionRequired, InvalidInput, UnknownModel
from genpulse.planning import plan_generation
from genpulse.planning.fitting import fit
from genpulse.pricing import most, terms
from genpulse.schemas.catalog import EngineModel, Size
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.plans import Plan
from genpulse.schemas.states import Operation
from genpulse.submissions import Submission

WIDE = EngineModel(
    source="x/wide", operations=(Operation.TEXT_TO_IMAGE,), native=Size(512, 512), min_side=128, max_side=1024
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    models = engine_models({"wide": WIDE})
    return load_catalog(models | {"twin": models["shapes"]})


def plan(catalog: Catalog, **request: Any) -> Plan:
    return plan_generation(GenerationCreate.model_validate(request), catalog)


def shapes(**given: Any) -> dict[str, Any]:
    return {"model": "local/shapes", "operation": "text-to-image", "input": {"prompt": "a red circle"} | given}


CHAIN: list[dict[str, Any]] = [
    {"id": "still", "model": "local/shapes", "operation": "text-to-image", "input": {"prompt": "a red circle"}},
    {"id": "clip", "model": "local/motion", "input": {"image": {"step": "still", "output": 0}, "duration": 2}},
    {"id": "hd", "operation": "video-upscale", "input": {"scale": 2}},
]


def test_a_single_call_is_a_chain_of_one(catalog: Catalog) -> None:
    made = plan(catalog, **shapes())
    assert [(step.id, step.operation, step.model) for step in made.steps] == [("main", "text-to-image", "local/shapes")]
    assert made.adaptions == []


def test_an_unmet_media_input_is_filled_from_the_step_before(catalog: Catalog) -> None:
    made = plan(catalog, steps=CHAIN)
    assert made.steps[2].input["video"] == {"step": "clip", "output": 0}
    assert made.steps[2].model == "local/upscale", "the router picks the only upscaler"


def test_text_to_video_gets_an_image_first(catalog: Catalog) -> None:
    made = plan(catalog, model="local/motion", operation="text-to-video", input={"prompt": "a red circle moving right"})
    assert [(step.id, step.operation) for step in made.steps] == [
        ("main-image", "text-to-image"),
        ("main", "image-to-video"),
    ]
    assert made.steps[1].input["image"] == {"step": "main-image", "output": 0}
    assert [(one.kind, one.added_step) for one in made.adaptions] == [("text-to-image-before", "main-image")]


def test_a_size_beyond_the_model_gets_upscaled_and_the_next_step_takes_the_large_one(catalog: Catalog) -> None:
    large = CHAIN[0] | {"input": {"prompt": "a red circle", "width": 256, "height": 256}}
    made = plan(catalog, steps=[large, CHAIN[1]])
    assert [step.id for step in made.steps] == ["still", "still-upscale", "clip"]
    assert made.steps[0].input | {"prompt": ""} == {"prompt": "", "width": 64, "height": 64}
    assert made.steps[1].input == {"image": {"step": "still", "output": 0}, "width": 256, "height": 256}
    assert made.steps[2].input["image"]["step"] == "still-upscale"


def test_a_large_factor_takes_two_upscales(catalog: Catalog) -> None:
    made = plan(catalog, **shapes(width=512, height=512))
    assert [step.input.get("width") for step in made.steps] == [64, 256, 512]


@pytest.mark.parametrize("asked", [{"resolution": "256p"}, {"resolution": "256x256"}, {"width": 256}, {"height": 256}])
def test_every_way_to_ask_for_a_size_leads_there(catalog: Catalog, asked: dict[str, Any]) -> None:
    last = plan(catalog, **shapes(**asked)).steps[-1]
    assert (last.input["width"], last.input["height"]) == (256, 256)


def test_an_aspect_ratio_alone_keeps_the_native_area(catalog: Catalog) -> None:
    given_size = plan(catalog, model="local/wide", input={"prompt": "x", "aspect_ratio": "16:9"}).steps[0].input
    assert given_size["width"] / given_size["height"] == pytest.approx(16 / 9, rel=0.03)
    assert given_size["width"] * given_size["height"] == pytest.approx(512 * 512, rel=0.05)


@pytest.mark.parametrize(("ratio", "size"), [("3:2", (1536, 1024)), ("2:3", (1024, 1536)), ("1:1", (1024, 1024))])
def test_an_aspect_ratio_alone_takes_the_listed_size_of_about_that_area(ratio: str, size: tuple[int, int]) -> None:
    asked = {"model": "openai/gpt-image-1.5", "operation": "text-to-image"}
    made = plan(load_catalog({}, ["openai"]), **asked, input={"prompt": "x", "aspect_ratio": ratio}).steps[0].input
    assert (made["width"], made["height"]) == size


@pytest.mark.parametrize(
    ("request_", "field", "word"),
    [
        (shapes(duration=3), "input.duration", "does not take"),
        (shapes(prompt="  "), "input.prompt", "empty"),
        (shapes(prompt="x" * 2001), "input.prompt", "2000"),
        (shapes(steps=51), "input.steps", "at most 50"),
        (shapes(count=9), "input.count", "at most 8"),
        (shapes(width=32, height=32), "input.width", "64x64"),
        (shapes(width=2048, height=2048), "input.width", "1024x1024"),
        (shapes(aspect_ratio="16:9"), "input.aspect_ratio", "64x64"),
        (shapes(width=64, height=64, aspect_ratio="1:1"), "input.aspect_ratio", "already"),
        (shapes(width=64, resolution="64p"), "input.resolution", "not both"),
        (shapes(resolution="huge"), "input.resolution", "720p"),
        (shapes(width=256, height=256, count=2), "input.count", "count"),
        ({"model": "local/shapes", "operation": "text-to-image", "input": {}}, "input.prompt", "needs"),
        ({"model": "local/shapes", "input": {"prompt": "x"}}, "operation", "say which"),
        ({"model": "local/shapes", "operation": "video-upscale"}, "operation", "does not do"),
        ({"operation": "text-to-speech", "input": {"prompt": "x"}}, "operation", "No model"),
        ({"model": "local/motion", "operation": "text-to-video", "input": {}}, "input.prompt", "needs"),
        ({"model": "local/motion", "input": {"prompt": "x"}}, "input.image", "needs"),
        (shapes() | {"provider_options": {"a": 1}}, "provider_options", "no provider options"),
        ({"steps": [CHAIN[0], CHAIN[0]]}, "steps.1.id", "Two steps"),
        ({"steps": [CHAIN[1]]}, "steps.0.input.image.step", "No earlier step"),
        ({"steps": [CHAIN[0], CHAIN[1] | {"input": {"image": {"step": "still", "output": 1}}}]},
         "steps.1.input.image.output", "1 output"),
        ({"steps": [*CHAIN[:2], CHAIN[1] | {"id": "x", "input": {"image": {"step": "clip"}}}]},
         "steps.2.input.image.step", "video"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_the_fix(
    catalog: Catalog, request_: dict[str, Any], field: str, word: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        plan(catalog, **request_)
    assert refused.value.field == field
    assert word in refused.value.message


def test_an_unknown_model_is_answered_with_near_ones(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel, match="local/shapes") as refused:
        plan(catalog, model="local/shaps", input={"prompt": "x"})
    assert refused.value.field == "model"


def test_a_hidden_model_is_not_suggested(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel) as refused:
        plan(catalog, model="local/fakes", operation="text-to-image", input={"prompt": "x"})
    assert "local/fake" not in refused.value.message.removeprefix("There is no model 'local/fakes'")


def test_an_unknown_fallback_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel) as refused:
        plan(catalog, **shapes(), fallbacks=["local/wide", "no/model"])
    assert refused.value.field == "fallbacks.1"


@pytest.mark.parametrize(
    ("fallback", "size", "why"),
    [
        ("local/upscale", {}, "it does image-upscale, video-upscale, not text-to-image"),
        ("local/wide", {"width": 64, "height": 64}, "it does not make 64x64"),
    ],
)
def test_a_fallback_that_could_not_take_over_is_refused(
    catalog: Catalog, fallback: str, size: dict[str, int], why: str
) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        plan(catalog, **shapes(**size), fallbacks=[fallback])
    assert refused.value.field == "fallbacks.0"


@pytest.fixture(scope="module")
def clouds() -> Catalog:
    return load_catalog({}, ["fal", "kling", "replicate"])


def test_a_fallback_gets_what_was_asked_for_in_its_own_terms(clouds: Catalog) -> None:
    wide = {"prompt": "a red circle", "aspect_ratio": "16:9"}
    (step,) = plan(clouds, model="fal/flux-dev", input=wide, fallbacks=["kling/kling-v3-image"]).steps
    assert "aspect_ratio" not in step.input
    assert step.input["width"] > step.input["height"]
    (fallback,) = step.fallbacks
    assert (fallback.queue, fallback.input) == ("gp-provider-kling", wide)


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        ("kling-3.0", {"width": 3840, "height": 2160}, {"aspect_ratio": "16:9", "resolution": "4k"}),
        ("kling-v3", {"height": 1280, "aspect_ratio": "9:16"}, {"aspect_ratio": "9:16", "resolution": "720p"}),
        ("kling-2.6", {"width": 1920}, {"aspect_ratio": "16:9", "resolution": "1080p"}),
        ("kling-v3-image", {"width": 2048, "height": 2048}, {"aspect_ratio": "1:1", "resolution": "2k"}),
        ("kling-2.6", {"resolution": "720p"}, {"resolution": "720p"}),
        ("kling-2.6", {"aspect_ratio": "1:1"}, {"aspect_ratio": "1:1"}),
    ],
)
def test_pixels_become_the_words_that_mean_exactly_these(
    clouds: Catalog, model: str, size: dict[str, Any], words: dict[str, str]
) -> None:
    operation = "text-to-image" if model.endswith("image") else "text-to-video"
    (step,) = plan(clouds, model=f"kling/{model}", operation=operation, input={"prompt": "x"} | size).steps
    assert step.input == {"prompt": "x"} | words


@pytest.mark.parametrize(
    ("size", "field"),
    [({"width": 1280, "height": 800}, "input.width"), ({"height": 721}, "input.height")],
)
def test_pixels_without_words_are_refused(clouds: Catalog, size: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidInput, match="makes 1280x720, 720x1280, 1920x1080, 1080x1920; ask for") as refused:
        plan(clouds, model="kling/kling-2.6", operation="text-to-video", input={"prompt": "x"} | size)
    assert refused.value.field == field


def test_words_are_known_before_the_call() -> None:
    spec = load_catalog({}, ["kling"]).get("kling/kling-v3-image")
    text, image = public_model(spec, "healthy").input_schema["anyOf"]
    assert text["properties"]["width"] == {"type": "integer", "description": "Pixels", "enum": [1024, 2048]}
    assert image["properties"]["resolution"]["enum"] == ["1k", "2k"]
    assert public_model(spec, "healthy").limits["text-to-image"]["named_sizes"][0] == {
        "width": 1024,
        "height": 1024,
        "aspect_ratio": "1:1",
        "resolution": "1k",
    }


def test_a_fallback_takes_pixels_in_words(clouds: Catalog) -> None:
    asked = {"model": "fal/flux-dev", "fallbacks": ["kling/kling-v3-image"]}
    (step,) = plan(clouds, **asked, input={"prompt": "x", "width": 1024, "height": 1024}).steps
    assert step.fallbacks[0].input == {"prompt": "x", "aspect_ratio": "1:1", "resolution": "1k"}
    with pytest.raises(InvalidInput, match=r"kling-v3-image cannot take over: In pixels"):
        plan(clouds, **asked, input={"prompt": "x", "width": 1024, "height": 768})


def test_a_fallback_in_words_may_make_the_size_that_is_enlarged_afterwards() -> None:
    engine = {"wide": WIDE.model_copy(update={"max_side": 1024, "native": Size(1024, 1024)})}
    catalog = load_catalog(engine | {"upscale": engine_models({})["upscale"]}, ["kling"])
    size = {"width": 3072, "height": 3072}
    asked = plan(catalog, model="local/wide", input={"prompt": "x"} | size, fallbacks=["kling/kling-v3-image"])
    assert [step.operation for step in asked.steps] == ["text-to-image", "image-upscale"]
    assert asked.steps[0].fallbacks[0].input == {"prompt": "x", "aspect_ratio": "1:1", "resolution": "1k"}


def test_a_fallback_may_make_the_size_that_is_enlarged_afterwards(catalog: Catalog) -> None:
    step, enlarged = plan(catalog, **shapes(width=256, height=256), fallbacks=["local/twin"]).steps
    assert [(one["width"], one["height"]) for one in (step.input, step.fallbacks[0].input)] == [(64, 64)] * 2
    assert (enlarged.input["width"], enlarged.input["height"]) == (256, 256)


def test_the_router_takes_the_cheapest_and_has_the_next_ones_ready(clouds: Catalog) -> None:
    (step,) = plan(clouds, operation="text-to-image", input={"prompt": "a red circle", "seed": 7}).steps
    offers = clouds.offering(Operation.TEXT_TO_IMAGE)
    operations = [(one.price_of(Operation.TEXT_TO_IMAGE), one.operations[Operation.TEXT_TO_IMAGE]) for one in offers]
    costs = [most(terms(price, operation, {}, {})) for price, operation in operations if price]
    assert costs == sorted(costs)
    assert costs, "some have a price"
    assert step.model == offers[0].id
    providers = [one.model.partition("/")[0] for one in step.fallbacks]
    assert providers == ["replicate"], "kling takes no seed, and one model of a provider is enough"


def test_the_router_leaves_out_who_is_down(clouds: Catalog) -> None:
    request = GenerationCreate.model_validate({"operation": "text-to-image", "input": {"prompt": "a red circle"}})
    (usual,) = plan_generation(request, clouds).steps
    first = usual.model.partition("/")[0]
    (step,) = plan_generation(request, clouds, down={first}).steps
    assert first not in {one.partition("/")[0] for one in (step.model, *(f.model for f in step.fallbacks))}
    (last,) = plan_generation(request, clouds, down={"fal", "kling", "replicate"}).steps
    assert last.model == usual.model, "when all are down, it waits for the best one"


def test_provider_options_need_a_model(clouds: Catalog) -> None:
    with pytest.raises(InvalidInput, match="Give a `model`") as refused:
        plan(clouds, operation="text-to-image", input={"prompt": "x"}, provider_options={"a": 1})
    assert refused.value.field == "provider_options"


def test_what_has_no_price_is_named_by_its_place(clouds: Catalog) -> None:
    drawn = {"id": "still", "operation": "text-to-image", "model": "fal/flux-dev", "input": {"prompt": "x"}}
    larger = {
        "id": "large",
        "operation": "image-upscale",
        "model": "fal/seedvr-image",
        "input": {"image": {"step": "still"}},
    }
    options = {"num_images": 4, "output_format": "png", "extra": {"negative_prompt": "y", "tier": "dear"}}
    request = GenerationCreate.model_validate({"steps": [drawn | {"provider_options": options}, larger]})
    submission = Submission(tenant_id="t", request=request, plan=plan_generation(request, clouds), request_id="r")
    assert [field for field, _ in submission.bound.unpriced] == [
        "steps.0.provider_options.num_images", "steps.0.provider_options.extra.tier", "steps.1.model",
    ]  # fmt: skip


def test_a_fallback_without_a_price_is_named_by_its_place() -> None:
    others = ["fal/flux-schnell", "volcengine/seedream-3"]
    body = {"model": "fal/flux-dev", "fallbacks": others, "input": {"prompt": "x"}}
    request = GenerationCreate.model_validate(body)
    plan = plan_generation(request, load_catalog({}, ["fal", "volcengine"]))
    submission = Submission(tenant_id="t", request=request, plan=plan, request_id="r")
    assert list(submission.bound.unpriced) == [("fallbacks.1", "volcengine/seedream-3")]


def test_what_is_added_without_a_price_is_named_by_the_step_that_it_is_for(catalog: Catalog) -> None:
    drawn = {"model": "local/shapes", "operation": "text-to-image"}
    inputs = {"first": {"prompt": "a red circle"}, "second": {"prompt": "a red circle", "width": 256, "height": 256}}
    steps = [drawn | {"id": name, "input": given} for name, given in inputs.items()]
    request = GenerationCreate.model_validate({"steps": steps})
    plan = plan_generation(request, catalog)
    plan.steps[-1].quotes.clear()  # of the upscale step
    submission = Submission(tenant_id="t", request=request, plan=plan, request_id="r")
    assert [(field, what) for field, what in submission.bound.unpriced if what == plan.steps[-1].model] == [
        ("steps.1.model", plan.steps[-1].model)
    ]


@pytest.mark.parametrize(
    "request_",
    [
        shapes(width=256, height=256),
        {"model": "local/motion", "operation": "text-to-video", "input": {"prompt": "a red circle"}},
    ],
)
def test_without_adapt_the_refusal_says_what_would_be_added(catalog: Catalog, request_: dict[str, Any]) -> None:
    would = plan(catalog, **request_).adaptions[0]
    with pytest.raises(AdaptionRequired) as refused:
        plan(catalog, **request_, adapt=False)
    assert would.message in refused.value.message
    assert refused.value.details["adaption"]["added_step"] == would.added_step


def test_the_fake_is_never_routed_to(catalog: Catalog) -> None:
    for operation in (Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_VIDEO):
        assert "local/fake" not in [model.id for model in catalog.offering(operation)]


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_a_planned_size_is_exactly_the_wanted_one_or_refused(width: int, height: int) -> None:
    catalog = load_catalog({"wide": WIDE} | {"upscale": engine_models({})["upscale"]})
    try:
        made = plan(catalog, model="local/wide", input={"prompt": "x", "width": width, "height": height})
    except InvalidInput:
        return
    first, last = made.steps[0].input, made.steps[-1].input
    rules = catalog.get("local/wide").operations[Operation.TEXT_TO_IMAGE].sizes
    assert rules is not None
    assert rules.allows(Size(first["width"], first["height"]))
    assert (last["width"], last["height"]) == (width, height)


@pytest.mark.parametrize(
    ("model", "given", "field"),
    [
        ("wan2.6-image", {"reference_images": [{"url": "https://a/b"}] * 4}, "reference_images"),
        ("wan2.6-i2v-flash", {"audio": {"url": "https://a/b"}}, "audio"),
        ("wan2.6-t2v", {"audio": True}, "audio"),
    ],
)
def test_how_many_files_and_whether_it_is_one(model: str, given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        plan(load_catalog({}, ["dashscope"]), model=f"dashscope/{model}", input={"prompt": "x"} | given)
    assert refused.value.field == f"input.{field}"


@pytest.fixture(scope="module")
def two() -> Catalog:
    return load_catalog({}, ["kling", "minimax"])


def test_a_fallback_comes_as_near_as_it_can_and_says_so(two: Catalog) -> None:
    asked = {"prompt": "a red kite over the sea", "duration": 5, "aspect_ratio": "16:9"}
    planned = plan(
        two,
        model="kling/kling-3.0",
        operation="text-to-video",
        input=asked,
        fallbacks=["minimax/MiniMax-Hailuo-2.3"],
    )
    (step,) = planned.steps
    assert step.input == asked
    assert step.fallbacks[0].input == {"prompt": asked["prompt"], "duration": 6}
    (told,) = planned.adaptions
    assert (told.kind, told.step, told.added_step) == ("fallback-fitted", "main", None)
    assert told.message == (
        "If minimax/MiniMax-Hailuo-2.3 takes over, then with `duration` 6 instead of 5, without `aspect_ratio`."
    )


def test_without_adaption_a_fallback_does_what_was_asked_or_is_refused(two: Catalog) -> None:
    with pytest.raises(InvalidInput, match="cannot take over") as refused:
        plan(
            two,
            model="kling/kling-3.0",
            operation="text-to-video",
            input={"prompt": "x", "duration": 5},
            fallbacks=["minimax/MiniMax-Hailuo-2.3"],
            adapt=False,
        )
    assert refused.value.field == "fallbacks.0"


@pytest.mark.parametrize(("asked", "taken"), [(4, 6), (6, 6), (7, 8), (9, 10), (30, 10)])
def test_the_nearest_of_what_a_model_takes(two: Catalog, asked: float, taken: float) -> None:
    model = two.get("minimax/MiniMax-Hailuo-2.3")
    fitted, changes = fit({"prompt": "x", "duration": asked}, model, Operation.TEXT_TO_VIDEO)
    assert fitted == {"prompt": "x", "duration": taken}
    assert bool(changes) == (asked != taken)


def test_what_it_is_made_of_is_never_changed(two: Catalog) -> None:
    given = {"prompt": "x", "negative_prompt": "y", "count": 4, "width": 512, "height": 512}
    assert fit(given, two.get("minimax/MiniMax-Hailuo-2.3"), Operation.TEXT_TO_VIDEO) == (given, [])
