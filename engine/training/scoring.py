"""Measures pictures and clips: what colour, which shape, where, and how it moves; plain arithmetic on pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.training.captions import MOTIONS, Meaning, default_background
from engine.training.drawing import COLOURS, PALETTE, PIXELS, POSITIONS, RADII, SHAPES, SIZES, Placement, coverage

Picture = NDArray[np.uint8]
Plane = NDArray[np.float64]
Candidate = tuple[int, float, float, float]  # shape, centre, radius

_RGB = np.array([PALETTE[name] for name in COLOURS], dtype=np.float64)
_FAINTEST = 25.0  # the least distance in RGB between an object and what is behind it
_FARTHEST = 75.0  # beyond this distance a colour has no name
_BESIDE = 6.5  # pixels from the centre at which an object is no longer central
_SHIFTS = ((0.0, 0.0), (0.8, 0.0), (-0.8, 0.0), (0.0, 0.8), (0.0, -0.8))
_SCALES = (0.96, 1.04)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one picture shows; `overlap` (0 to 1) tells how well the best shape fits."""

    background: str | None
    colour: str | None
    shape: str | None
    position: str | None
    size: str | None
    centre: tuple[float, float]
    area: float
    overlap: float


NOTHING = Reading(None, None, None, None, None, (math.nan, math.nan), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Journey:
    """How the object of a clip goes: total displacement in pixels, its largest step back, growth of its area."""

    displacement: tuple[float, float]
    setback: float
    growth: float
    colours: frozenset[str | None]
    shapes: tuple[str | None, ...]
    first_error: float

    @property
    def distance(self) -> float:
        return math.hypot(*self.displacement)


# Pictures ---------------------------------------------------------------------------------------------


def measure(picture: Picture) -> Reading:
    """Read one picture of PIXELS x PIXELS."""
    pixels = picture.astype(np.float64)
    behind = _behind(pixels)
    cover, rgb = _separate(pixels, behind)
    if rgb is None or cover.sum() < 12:
        return NOTHING
    shape, centre, radius, overlap = _fit(cover)
    return Reading(
        background=colour_name(behind),
        colour=colour_name(rgb),
        shape=shape,
        position=position_name(centre),
        size=SIZES[int(np.abs(np.array(RADII) - radius).argmin())],
        centre=_centroid(cover),
        area=float(cover.sum()),
        overlap=overlap,
    )


def colour_name(rgb: Plane) -> str | None:
    """The nearest colour of the palette, or none when even that one is far away."""
    distances = np.linalg.norm(_RGB - rgb, axis=1)
    nearest = int(distances.argmin())
    return COLOURS[nearest] if distances[nearest] <= _FARTHEST else None


def position_name(centre: tuple[float, float]) -> str:
    column, row = (int(value > PIXELS / 2 + _BESIDE) + int(value > PIXELS / 2 - _BESIDE) for value in centre)
    return POSITIONS[3 * row + column]


def _behind(pixels: Plane) -> Plane:
    """The background: the median of the outermost two pixels, where objects hardly ever are."""
    frame = np.ones(pixels.shape[:2], dtype=bool)
    frame[2:-2, 2:-2] = False
    median: Plane = np.median(pixels[frame], axis=0)
    return median


def _separate(pixels: Plane, behind: Plane) -> tuple[Plane, Plane | None]:
    """Split a picture into the object's share of each pixel and the object's colour."""
    offset = pixels - behind
    contrast = np.linalg.norm(offset, axis=2)
    strongest = float(np.quantile(contrast, 0.985))
    if strongest < _FAINTEST:
        return np.zeros(contrast.shape), None
    rgb = np.median(pixels[contrast > 0.7 * strongest], axis=0)
    axis = rgb - behind
    cover = np.clip(offset @ axis / (axis @ axis), 0, 1)
    cover[cover < 0.12] = 0
    return cover, rgb


def _centroid(cover: Plane) -> tuple[float, float]:
    ticks = np.arange(PIXELS) + 0.5
    total = cover.sum()
    return float(cover.sum(0) @ ticks / total), float(cover.sum(1) @ ticks / total)


def _fit(cover: Plane) -> tuple[str, tuple[float, float], float, float]:
    """The shape, centre and radius whose drawing overlaps the object best, tried around its area and centroid."""
    first = [_guess(cover, index) for index in range(len(SHAPES))]
    ranking = np.argsort(-_overlaps(cover, first))[:3]
    candidates = [candidate for index in ranking for candidate in _around(first[index])]
    overlaps = _overlaps(cover, candidates)
    best = int(overlaps.argmax())
    index, cx, cy, radius = candidates[best]
    return SHAPES[index], (cx, cy), radius, float(overlaps[best])


def _guess(cover: Plane, index: int) -> Candidate:
    """The shape of the same area and centroid."""
    x, y = _centroid(cover)
    area, (dx, dy) = _UNIT[index]
    radius = math.sqrt(cover.sum() / area)
    return index, x - dx * radius, y - dy * radius, radius


def _around(guess: Candidate) -> list[Candidate]:
    index, x, y, radius = guess
    shifted = [(index, x + dx, y + dy, radius) for dx, dy in _SHIFTS]
    return shifted + [(index, x, y, radius * scale) for scale in _SCALES]


def _overlaps(cover: Plane, candidates: Sequence[Candidate]) -> Plane:
    """Shared area over total area, for each candidate."""
    table = torch.tensor(candidates)
    drawn = coverage(table[:, 0].long(), Placement(table[:, 1:3], table[:, 3])).double().numpy()
    shares: Plane = np.minimum(drawn, cover).sum((1, 2)) / np.maximum(drawn, cover).sum((1, 2))
    return shares


def _unit_moments() -> list[tuple[float, tuple[float, float]]]:
    """Area and centroid of each shape of radius one, measured on a drawing."""
    radius, middle = 20.0, PIXELS / 2
    count = len(SHAPES)
    drawn = coverage(torch.arange(count), Placement(torch.full((count, 2), middle), torch.full((count,), radius)))
    moments = []
    for cover in drawn.double().numpy():
        x, y = _centroid(cover)
        moments.append((float(cover.sum()) / radius**2, ((x - middle) / radius, (y - middle) / radius)))
    return moments


_UNIT = _unit_moments()


def misses(picture: Picture, meaning: Meaning) -> list[str]:
    """What a picture gets wrong, compared with what its caption says; empty when all is right."""
    seen = measure(picture)
    background = default_background(meaning.colour) if meaning.background is None else meaning.background
    checks = [("background", seen.background, COLOURS[background])]
    if meaning.position is not None:
        checks.append(("position", seen.position, POSITIONS[meaning.position]))
    if meaning.colour is not None:
        checks.append(("colour", seen.colour, COLOURS[meaning.colour]))
    if meaning.shape is not None:
        checks.append(("shape", seen.shape, SHAPES[meaning.shape]))
    return [f"{what}: {found}, not {wanted}" for what, found, wanted in checks if found != wanted]


# Clips ------------------------------------------------------------------------------------------------


def follow(frames: Sequence[Picture], first: Picture) -> Journey:
    """Follow the object through a clip that should begin with the picture `first`."""
    readings = [measure(frame) for frame in frames]
    centres = np.array([reading.centre for reading in readings])
    displacement = centres[-1] - centres[0]
    along = centres @ displacement / max(1e-6, float(np.linalg.norm(displacement)))
    areas = [reading.area for reading in readings]
    return Journey(
        displacement=(float(displacement[0]), float(displacement[1])),
        setback=float(max(0.0, -np.diff(along).min())),
        growth=areas[-1] / max(1.0, areas[0]),
        colours=frozenset(reading.colour for reading in readings),
        shapes=tuple(reading.shape for reading in readings),
        first_error=float(np.abs(frames[0].astype(np.float64) - first).mean()),
    )


def journey_misses(journey: Journey, *, motion: str, colour: str, shape: str, least: float = 12.0) -> list[str]:
    """What a clip gets wrong; the shape has to be recognised in three frames of four, the colour in all."""
    wrong = []
    if motion in ("growing", "shrinking"):
        grown = journey.growth if motion == "growing" else 1 / max(1e-6, journey.growth)
        if not grown > 1.4:
            wrong.append(f"area times {journey.growth:.2f}")
        if not journey.distance < 6:
            wrong.append(f"strayed {journey.distance:.0f} px")
    else:
        angle = _angle_between(journey.displacement, MOTIONS[motion])
        if not angle <= 30:
            wrong.append(f"{angle:.0f} degrees off")
        if not journey.distance >= least:
            wrong.append(f"only {journey.distance:.0f} px")
        if not journey.setback <= 1.5:
            wrong.append(f"went back {journey.setback:.1f} px")
    if journey.colours != {colour}:
        wrong.append(f"colours {sorted(map(str, journey.colours))}")
    if sum(seen == shape for seen in journey.shapes) < 0.75 * len(journey.shapes):
        wrong.append(f"shapes {sorted(set(map(str, journey.shapes)))}")
    if not journey.first_error <= 6:
        wrong.append(f"first frame differs by {journey.first_error:.1f}")
    return wrong


def _angle_between(one: tuple[float, float], other: tuple[int, int]) -> float:
    turn = math.degrees(math.atan2(one[1], one[0]) - math.atan2(other[1], other[0]))
    return abs((turn + 180) % 360 - 180)
