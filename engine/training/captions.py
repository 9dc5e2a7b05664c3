"""The language of the two models: which words there are, and how people may say what is drawn."""

import random
from dataclasses import dataclass, replace

from engine.training.drawing import CENTRE, COLOURS, POSITIONS, SHAPES, SIZES

MEDIUM = SIZES.index("medium")
WHITE, GRAY = COLOURS.index("white"), COLOURS.index("gray")

# Screen directions, y downwards; growing and shrinking stay in place.
MOTIONS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up left": (-1, -1),
    "up right": (1, -1),
    "down left": (-1, 1),
    "down right": (1, 1),
    "growing": (0, 0),
    "shrinking": (0, 0),
}
MOTION_NAMES = tuple(MOTIONS)

COLOUR_WORDS = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "green": ("green", "green", "green", "emerald"),
    "blue": ("blue", "blue", "blue", "navy"),
    "yellow": ("yellow", "yellow", "yellow", "golden"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose"),
    "cyan": ("cyan", "cyan", "turquoise", "aqua"),
    "gray": ("gray", "grey"),
}
SHAPE_WORDS = {
    "circle": ("circle", "circle", "circle", "disc", "disk", "dot", "ball"),
    "square": ("square", "square", "square", "box"),
    "ring": ("ring", "ring", "donut", "hoop"),
    "cross": ("cross", "cross", "plus", "plus sign"),
    "diamond": ("diamond", "diamond", "rhombus"),
}
SIZE_WORDS = {
    "small": ("small", "small", "tiny", "little"),
    "medium": ("medium", "medium sized"),
    "large": ("large", "large", "big", "huge"),
}
POSITION_WORDS = {
    "top": ("top", "top", "upper side", "top center"),
    "bottom": ("bottom", "bottom", "lower side", "bottom center"),
    "left": ("left", "left", "left side", "middle left"),
    "right": ("right", "right", "right side", "middle right"),
    "centre": ("centre", "center", "middle"),
    "top left": ("top left", "top left", "upper left", "left top"),
    "top right": ("top right", "top right", "upper right", "right top"),
    "bottom left": ("bottom left", "bottom left", "lower left", "left bottom"),
    "bottom right": ("bottom right", "bottom right", "lower right", "right bottom"),
}
MOTION_WORDS = {
    "left": ("left", "to the left", "leftwards", "towards the left"),
    "right": ("right", "to the right", "rightwards", "towards the right"),
    "up": ("up", "upwards", "to the top", "upward", "towards the top"),
    "down": ("down", "downwards", "to the bottom", "downward", "towards the bottom"),
    "up left": ("up left", "to the top left", "to the upper left", "up and left", "diagonally up left"),
    "up right": ("up right", "to the top right", "to the upper right", "up and right", "diagonally up right"),
    "down left": ("down left", "to the bottom left", "to the lower left", "down and left", "diagonally down left"),
    "down right": (
        "down right",
        "to the bottom right",
        "to the lower right",
        "down and right",
        "diagonally down right",
    ),
}
GROWING = ("growing", "grows", "getting bigger", "getting larger", "expanding", "becoming larger")
SHRINKING = ("shrinking", "shrinks", "getting smaller", "becoming smaller")
VERBS = ("moving", "moving", "moves", "going", "sliding", "flying", "drifting", "floating", "move")
STANDALONE_VERBS = ("moving", "moves", "move", "animate it", "animation", "motion", "flying", "drifting")
BACKGROUND_PHRASES = (
    "on a {} background",
    "on a {} background",
    "on {}",
    "with a {} background",
    "against a {} background",
    "in front of a {} background",
    "over a {} background",
)
OPENINGS = (
    "a photo of",
    "a picture of",
    "an image of",
    "a drawing of",
    "an illustration of",
    "a painting of",
    "a video of",
    "a clip of",
    "draw",
    "show me",
    "please draw",
)
QUALIFIERS = ("beautiful", "simple", "flat", "shiny", "bright", "nice", "solid", "minimal", "cute", "plain", "single")
CLOSINGS = ("high quality", "vector art", "minimal", "flat design", "icon", "best quality", "simple", "detailed")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a caption says: indices into the tables of `drawing`; None where it says nothing."""

    shape: int | None
    colour: int | None
    background: int | None
    position: int | None = CENTRE
    size: int = MEDIUM
    motion: int | None = None


def default_background(colour: int | None) -> int:
    """What is behind an object when the caption does not say: white, or gray behind a white object."""
    return GRAY if colour == WHITE else WHITE


def say(meaning: Meaning, chance: random.Random) -> str:
    """One of the many captions with this meaning."""
    parts = [_noun(meaning, chance)]
    if meaning.motion is not None:
        parts.append(_motion(meaning.motion, chance))
    if meaning.position is not None and (meaning.position != CENTRE or chance.random() < 0.3):
        parts.insert(chance.choice((1, len(parts))), _place(meaning.position, chance))
    if meaning.background is None:
        return _decorate(parts, chance)
    behind = chance.choice(BACKGROUND_PHRASES).format(_word(COLOUR_WORDS, COLOURS, meaning.background, chance))
    if chance.random() < 0.12:
        return _decorate([f"{behind},", *parts], chance)
    parts.append(behind)
    if chance.random() < 0.25:
        parts[1:] = chance.sample(parts[1:], len(parts) - 1)
    return _decorate(parts, chance)


def say_motion_only(motion: int | None, chance: random.Random) -> str:
    """A caption for a clip that leaves the object to the picture: "moving right"."""
    subject = chance.choice(("", "", "it is", "it", "the shape", "the object"))
    action = chance.choice(STANDALONE_VERBS) if motion is None else _motion(motion, chance)
    return f"{subject} {action}".strip()


def forget(meaning: Meaning, chance: random.Random, share: float = 0.05) -> Meaning:
    """Leave the colour or the shape open now and then, so that the models know what "a shape" is."""
    if chance.random() < share:
        meaning = replace(meaning, colour=None)
    if chance.random() < share:
        meaning = replace(meaning, shape=None)
    return meaning


def words() -> list[str]:
    """Every word a caption can contain, each of which becomes one token."""
    tables = (COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS, POSITION_WORDS, MOTION_WORDS)
    phrases = [phrase for table in tables for choices in table.values() for phrase in choices]
    fixed = (GROWING, SHRINKING, VERBS, STANDALONE_VERBS, BACKGROUND_PHRASES, OPENINGS, QUALIFIERS, CLOSINGS)
    phrases += [phrase for group in fixed for phrase in group]
    phrases += [*COLOURS, *SHAPES, *SIZES, *POSITIONS, *MOTION_NAMES]
    phrases += ["a an the at in of on it is shape object corner picture image top part"]
    return sorted({word for phrase in phrases for word in phrase.replace("{}", " ").split()})


def _word(table: dict[str, tuple[str, ...]], names: tuple[str, ...], index: int, chance: random.Random) -> str:
    """The plain name half of the time, any of its synonyms otherwise."""
    name = names[index]
    return name if chance.random() < 0.5 else chance.choice(table.get(name, (name,)))


def _noun(meaning: Meaning, chance: random.Random) -> str:
    describing = []
    if meaning.size != MEDIUM or chance.random() < 0.15:
        describing.append(_word(SIZE_WORDS, SIZES, meaning.size, chance))
    if chance.random() < 0.1:
        describing.append(chance.choice(QUALIFIERS))
    if meaning.colour is not None:
        describing.append(_word(COLOUR_WORDS, COLOURS, meaning.colour, chance))
    if meaning.shape is None:
        describing.append(chance.choice(("shape", "object")))
    else:
        describing.append(_word(SHAPE_WORDS, SHAPES, meaning.shape, chance))
    article = chance.choice(("a", "a", "the", ""))
    if article == "a" and describing[0][0] in "aeiou":
        article = "an"
    return " ".join([article, *describing]).strip()


def _place(position: int, chance: random.Random) -> str:
    word = _word(POSITION_WORDS, POSITIONS, position, chance)
    if " " in POSITIONS[position] and chance.random() < 0.4:
        word += " corner"
    if chance.random() < 0.1:
        word += " of the " + chance.choice(("picture", "image"))
    return chance.choice(("at the {}", "in the {}", "on the {}", "at the {}", "at {}", "{}", "to the {}")).format(word)


def _motion(motion: int, chance: random.Random) -> str:
    name = MOTION_NAMES[motion]
    if name == "growing":
        return chance.choice(GROWING)
    if name == "shrinking":
        return chance.choice(SHRINKING)
    return f"{chance.choice(VERBS)} {_word(MOTION_WORDS, MOTION_NAMES, motion, chance)}"


def _decorate(parts: list[str], chance: random.Random) -> str:
    """Openings, commas, closing phrases and words the models do not know: all of them must do no harm."""
    text = chance.choice((" ", " ", " ", ", ")).join(parts)
    if chance.random() < 0.2:
        text = f"{chance.choice(OPENINGS)} {text}"
    if chance.random() < 0.1:
        text = f"{text}, {chance.choice(CLOSINGS)}"
    if chance.random() < 0.08:
        text = f"{_gibberish(chance)} {text}" if chance.random() < 0.5 else f"{text} {_gibberish(chance)}"
    if chance.random() < 0.1:
        text += "."
    return text


def _gibberish(chance: random.Random) -> str:
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 7)))
