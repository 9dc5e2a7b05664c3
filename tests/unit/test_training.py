"""The training code: drawing, captions, the scorer's own accuracy, and that a few steps of training do learn."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.training import autoencoder, captions, drawing, exam, flow, language, motion, scoring, shapes
from engine.training.captions import MEDIUM, Meaning
from engine.training.drawing import CENTRE, COLOURS, PALETTE, POSITIONS, SHAPES, SIZES, Placement
from engine.training.optimise import Run, warm_cosine


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def red_circle(position: int = CENTRE) -> scoring.Picture:
    return exam.picture_of(SHAPES.index("circle"), COLOURS.index("red"), COLOURS.index("white"), position, MEDIUM)


# Drawing ----------------------------------------------------------------------------------------------


def test_a_drawing_is_its_colour_inside_and_its_background_outside() -> None:
    picture = red_circle()
    assert tuple(picture[32, 32]) == PALETTE["red"]
    assert tuple(picture[0, 0]) == PALETTE["white"]


def test_a_circle_covers_the_area_of_a_circle() -> None:
    cover = drawing.coverage(
        torch.tensor([SHAPES.index("circle")]), Placement(torch.full((1, 2), 30.3), torch.tensor([12.0]))
    )
    assert cover.sum().item() == pytest.approx(np.pi * 144, rel=0.01)


def test_objects_never_have_the_colour_of_their_background() -> None:
    attributes = drawing.sample_attributes(2000, generator())
    assert not (attributes.colour == attributes.background).any()


def test_the_same_seed_draws_the_same_pictures() -> None:
    first, second = (autoencoder.varied_pictures(4, generator(7)) for _ in range(2))
    assert torch.equal(first, second)


# Captions ---------------------------------------------------------------------------------------------


def test_every_word_is_one_token() -> None:
    tokenizer = language.build_tokenizer()
    split = [word for word in captions.words() if len(tokenizer(word).input_ids) != 3]
    assert split == []


def test_captions_fit_the_context_and_use_known_words() -> None:
    tokenizer, chance = language.build_tokenizer(), random.Random(0)
    texts, _ = language.lesson(500, chance)
    assert max(len(ids) for ids in tokenizer(texts).input_ids) <= language.TOKENS


def test_a_caption_says_everything_that_is_not_a_default() -> None:
    meaning = Meaning(
        SHAPES.index("heart"), COLOURS.index("black"), COLOURS.index("orange"), CENTRE, SIZES.index("large")
    )
    chance = random.Random(3)
    for _ in range(50):
        caption = captions.say(meaning, chance)
        assert {"heart", "black", "orange"} <= set(caption.replace(",", "").replace(".", "").split())
        assert any(word in caption for word in captions.SIZE_WORDS["large"])


def test_the_unsaid_background_is_never_the_objects_colour() -> None:
    assert all(captions.default_background(colour) != colour for colour in range(len(COLOURS)))


# Scorer -----------------------------------------------------------------------------------------------


def test_the_scorer_reads_drawn_pictures_without_a_mistake() -> None:
    attributes = shapes.scenes(100, generator(11))
    drawn = exam.to_pixels(drawing.draw(attributes, drawing.place(attributes, generator(12))))
    for row, picture in enumerate(drawn):
        seen = scoring.measure(picture)
        expected = (
            COLOURS[int(attributes.background[row])],
            COLOURS[int(attributes.colour[row])],
            SHAPES[int(attributes.shape[row])],
            POSITIONS[int(attributes.position[row])],
            SIZES[int(attributes.size[row])],
        )
        assert (seen.background, seen.colour, seen.shape, seen.position, seen.size) == expected


@pytest.mark.parametrize(
    ("meaning", "what"),
    [
        (Meaning(SHAPES.index("square"), COLOURS.index("red"), None), "shape"),
        (Meaning(SHAPES.index("circle"), COLOURS.index("blue"), None), "colour"),
        (Meaning(SHAPES.index("circle"), COLOURS.index("red"), COLOURS.index("black")), "background"),
        (Meaning(SHAPES.index("circle"), COLOURS.index("red"), None, POSITIONS.index("top left")), "position"),
    ],
)
def test_the_scorer_rejects_a_wrong_picture(meaning: Meaning, what: str) -> None:
    wrong = scoring.misses(red_circle(), meaning)
    assert [miss.split(":")[0] for miss in wrong] == [what]


def test_the_scorer_finds_nothing_in_an_empty_picture() -> None:
    assert scoring.measure(np.full((64, 64, 3), 200, dtype=np.uint8)) == scoring.NOTHING


def drawn_clip(name: str) -> list[scoring.Picture]:
    attributes = drawing.Attributes(*(torch.tensor([value]) for value in (0, 0, 8, CENTRE, 0)))
    frames, _ = motion.draw_clips(attributes, torch.tensor([captions.MOTION_NAMES.index(name)]), generator())
    return exam.to_pixels(frames)


@pytest.mark.parametrize("name", captions.MOTION_NAMES)
def test_the_scorer_accepts_drawn_clips(name: str) -> None:
    clip = drawn_clip(name)
    assert scoring.journey_misses(scoring.follow(clip, clip[0]), motion=name, colour="red", shape="circle") == []


def test_the_scorer_rejects_clips_that_stand_still_or_go_elsewhere() -> None:
    clip = drawn_clip("left")
    still = [clip[0]] * len(clip)
    for frames, wanted in ((still, "left"), (clip, "right"), (clip, "growing"), (clip[::-1], "left")):
        journey = scoring.follow(frames, frames[0])
        assert scoring.journey_misses(journey, motion=wanted, colour="red", shape="circle")


# Training ---------------------------------------------------------------------------------------------


def test_motions_begin_where_there_is_room() -> None:
    attributes, motions = motion.sample_motions(shapes.scenes(2000, generator()), generator(1))
    right = motions == captions.MOTION_NAMES.index("right")
    assert (attributes.position[right] % 3 == 2).float().mean() < 0.1


def test_the_learning_rate_rises_and_falls() -> None:
    assert warm_cosine(0, 1000) < warm_cosine(100, 1000) > warm_cosine(999, 1000) > 0


def test_the_autoencoder_starts_as_a_thumbnail() -> None:
    torch.manual_seed(0)
    pictures = autoencoder.varied_pictures(8, generator())
    model = autoencoder.build().eval()
    with torch.no_grad():
        restored = model.decode(model.encode(pictures).latent_dist.mode()).sample
    assert (restored - pictures).abs().mean() < 0.35


def test_a_few_steps_learn_and_a_checkpoint_goes_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    target, inputs = torch.randn(8, 4), torch.randn(8, 16)
    losses: list[float] = []

    def practise(steps: int) -> Run:
        run = Run(nn.Linear(16, 4), steps=steps, rate=0.05, checkpoint=tmp_path / "run.pt")
        for _ in run:
            loss = (run.model(inputs) - target).square().mean()
            losses.append(loss.item())
            run.learn(loss)
        return run

    first = practise(30)
    assert losses[-1] < 0.5 * losses[0]
    again = practise(30)
    assert len(losses) == 30, "nothing is left to do"
    assert torch.equal(first.model.weight, again.model.weight)


def test_the_flow_loss_falls_within_a_few_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    latents, words = torch.randn(8, 4, 8, 8).sign(), torch.zeros(8, language.TOKENS, language.WIDTH)
    run = Run(shapes.build_unet(), steps=12, rate=5e-3, checkpoint=tmp_path / "run.pt")
    losses = []
    for _ in run:
        loss = shapes.flow_loss(run.model, latents, words, generator())
        losses.append(loss.item())
        run.learn(loss)
    assert losses[-1] < 0.8 * losses[0]


def test_the_motion_network_starts_as_the_picture_network() -> None:
    torch.manual_seed(0)
    start = shapes.build_unet().eval()
    unet = motion.build_unet(start).eval()
    clips, words = torch.randn(1, 4, 3, 8, 8), torch.randn(1, language.TOKENS, language.WIDTH)
    unet.conv_in.weight.data[:, 4:] = 0
    with torch.no_grad():
        inputs = torch.cat([clips, motion.condition(clips)], dim=1)
        moving = unet(inputs, 500, words.repeat_interleave(3, dim=0)).sample
        still = start(clips[0].transpose(0, 1), 500, words.expand(3, -1, -1)).sample
    assert torch.allclose(moving[0].transpose(0, 1), still, atol=1e-4)


#: Said by a library about itself; nothing that we could change.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_an_untrained_pipeline_survives_its_folder(tmp_path: Path) -> None:
    from engine.training import folder

    torch.manual_seed(0)
    tokenizer = language.build_tokenizer()
    base = shapes.Foundations(autoencoder.build(), tokenizer, language.build_encoder(tokenizer))
    pipeline = shapes.assemble(base, shapes.build_unet())
    folder.write(pipeline, tmp_path)
    restored = folder.read(tmp_path)
    assert {module.dtype for module in (restored.unet, restored.vae, restored.text_encoder)} == {torch.float32}
    assert exam.pictures(restored, ["a red circle"])[0].shape == (64, 64, 3)


def test_noise_levels_and_mixing_stay_on_the_path() -> None:
    levels = flow.noise_levels(1000, generator())
    assert levels.min() > 0 and levels.max() < 1
    clean, noise = torch.zeros(2, 4), torch.ones(2, 4)
    assert torch.equal(flow.mix(clean, noise, torch.tensor([0.0, 1.0])), torch.tensor([[0.0] * 4, [1.0] * 4]))
