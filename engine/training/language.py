"""The tokenizer and the text encoder: taught to tell what a caption means before any picture is involved."""

import random
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from engine.training.captions import MOTION_NAMES, Meaning, forget, say, say_motion_only, words
from engine.training.drawing import CENTRE, COLOURS, POSITIONS, SHAPES, SIZES
from engine.training.optimise import Run

START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = 32
WIDTH = 128
BATCH = 64
# Steps and peak learning rate.
ROUNDS = ((700, 1.5e-3), (250, 5e-4))

# The last answer of the first three and of the motion means "the caption does not say".
ANSWERS = (len(SHAPES) + 1, len(COLOURS) + 1, len(COLOURS) + 1, len(POSITIONS), len(SIZES), len(MOTION_NAMES) + 1)


def build_tokenizer() -> CLIPTokenizer:
    """One token for each word of the captions, single bytes for everything else."""
    symbols = _byte_symbols()
    vocabulary = {symbol: index for index, symbol in enumerate([*symbols, *(s + "</w>" for s in symbols)])}
    merges: list[tuple[str, str]] = []
    for word in words():
        pieces = _merge([*word[:-1], word[-1] + "</w>"], merges)
        while len(pieces) > 1:
            # Lower in rank than all merges before it, so the words above still become one token each.
            merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
            vocabulary.setdefault(pieces[0], len(vocabulary))
    for special in (START, END):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)


def _byte_symbols() -> list[str]:
    """The printable stand-ins of the 256 bytes that byte-level tokenizers use."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _merge(pieces: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Apply merges in order of rank, as the tokenizer will."""
    rank = {pair: index for index, pair in enumerate(merges)}
    while True:
        pairs = [rank.get(pair, len(rank)) for pair in pairwise(pieces)]
        if not pairs or min(pairs) == len(rank):
            return pieces
        at = pairs.index(min(pairs))
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]


def build_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Padded exactly as the pipelines pad."""
    return tokenizer(captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").input_ids


class Reader(nn.Module):
    """The text encoder with one small head per question; the heads are thrown away afterwards."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(WIDTH, answers) for answers in ANSWERS)

    def forward(self, ids: Tensor) -> list[Tensor]:
        pooled = self.encoder(ids).pooler_output
        return [head(pooled) for head in self.heads]


def reading_loss(reader: Reader, ids: Tensor, answers: Tensor) -> Tensor:
    losses = [functional.cross_entropy(logits, answers[:, i]) for i, logits in enumerate(reader(ids))]
    return torch.stack(losses).sum()


def lesson(count: int, chance: random.Random) -> tuple[list[str], Tensor]:
    """Captions of both models with the answers to be read from them."""
    captions, answers = [], []
    for _ in range(count):
        meaning = _random_meaning(chance)
        if chance.random() < 0.15:
            meaning = Meaning(None, None, None, motion=meaning.motion)
            captions.append(say_motion_only(meaning.motion, chance))
        else:
            captions.append(say(meaning, chance))
        answers.append(_answers(meaning))
    return captions, torch.tensor(answers)


def _random_meaning(chance: random.Random) -> Meaning:
    meaning = Meaning(
        shape=chance.randrange(len(SHAPES)),
        colour=chance.randrange(len(COLOURS)),
        background=chance.randrange(len(COLOURS)) if chance.random() < 0.7 else None,
        position=chance.randrange(len(POSITIONS)) if chance.random() < 0.8 else CENTRE,
        size=chance.randrange(len(SIZES)),
        motion=chance.randrange(len(MOTION_NAMES)) if chance.random() < 0.4 else None,
    )
    return forget(meaning, chance)


def _answers(meaning: Meaning) -> list[int]:
    given = (meaning.shape, meaning.colour, meaning.background, meaning.position, meaning.size, meaning.motion)
    return [count - 1 if value is None else value for value, count in zip(given, ANSWERS, strict=True)]


def train(work: Path, *, seed: int) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Teach a fresh text encoder to read; returns it without the heads, ready to be frozen."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    reader = Reader(build_encoder(tokenizer))
    for number, (steps, rate) in enumerate(ROUNDS):
        run = Run(reader, steps=steps, rate=rate, checkpoint=work / f"language-{number}.pt")
        chance = random.Random(seed + 1000 * number + run.done)
        for _ in run:
            captions, answers = lesson(BATCH, chance)
            run.learn(reading_loss(reader, token_ids(tokenizer, captions), answers))
    return tokenizer, reader.encoder


@torch.no_grad()
def embed(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, captions: list[str]) -> Tensor:
    """What the diffusion networks attend to: [captions, TOKENS, WIDTH]."""
    return encoder(token_ids(tokenizer, captions)).last_hidden_state
