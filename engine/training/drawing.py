"""Draws antialiased coloured shapes from signed distances, in batches: the only source of training pictures."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PIXELS = 64

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (220, 35, 35),
    "orange": (248, 140, 25),
    "yellow": (250, 222, 50),
    "green": (45, 165, 70),
    "blue": (40, 85, 220),
    "purple": (130, 50, 175),
    "pink": (250, 135, 190),
    "cyan": (60, 210, 230),
    "white": (250, 250, 250),
    "black": (15, 15, 15),
    "gray": (132, 132, 132),
}
COLOURS = tuple(PALETTE)
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
SIZES = ("small", "medium", "large")
RADII = (9.5, 13.0, 17.0)
# Row by row, so that index = 3 * row + column.
POSITIONS = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
CENTRE = POSITIONS.index("centre")

_OFFSET = 15.0  # from the centre to the centre of an outer position, in pixels
_MARGIN = 3.0  # the least distance kept between a shape's radius and the edge


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a caption can say about each picture of a batch: one index per picture and attribute."""

    shape: Tensor
    colour: Tensor
    background: Tensor
    position: Tensor
    size: Tensor

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows: Tensor) -> "Attributes":
        return Attributes(
            self.shape[rows], self.colour[rows], self.background[rows], self.position[rows], self.size[rows]
        )


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each shape of a batch lies: centres in pixels (x, y) and radii in pixels."""

    centre: Tensor
    radius: Tensor


def rgb_table() -> Tensor:
    """The palette in the range of the networks, -1 to 1, one row per colour."""
    return torch.tensor([PALETTE[name] for name in COLOURS]) / 127.5 - 1


def sample_attributes(count: int, generator: torch.Generator) -> Attributes:
    """Draw attributes evenly, except that the centre and the medium size are as frequent as captions leave them out."""

    def pick(options: int) -> Tensor:
        return torch.randint(options, (count,), generator=generator)

    def usually(value: int, share: float, others: Tensor) -> Tensor:
        return torch.where(torch.rand(count, generator=generator) < share, value, others)

    colour = pick(len(COLOURS))
    # A shift by at least one, around the circle of colours, never gives the object's own colour.
    background = (colour + 1 + pick(len(COLOURS) - 1)) % len(COLOURS)
    position = usually(CENTRE, 0.15, pick(len(POSITIONS)))
    size = usually(1, 0.35, pick(len(SIZES)))
    return Attributes(pick(len(SHAPES)), colour, background, position, size)


def place(attributes: Attributes, generator: torch.Generator) -> Placement:
    """Turn positions and sizes into pixels with a little random play, keeping each shape inside the picture."""
    count = len(attributes)
    radius = torch.tensor(RADII)[attributes.size] * (1 + 0.08 * (2 * torch.rand(count, generator=generator) - 1))
    grid = torch.stack([attributes.position % 3 - 1, attributes.position // 3 - 1], dim=1)
    play = 3 * (torch.rand(count, 2, generator=generator) - 0.5)
    return Placement(inside(PIXELS / 2 + grid * _OFFSET + play, radius), radius)


def inside(centre: Tensor, radius: Tensor) -> Tensor:
    """Move centres that are too close to the edge for their radius back into the picture."""
    low = (radius + _MARGIN).unsqueeze(-1)
    return torch.minimum(torch.maximum(centre, low), PIXELS - low)


def draw(attributes: Attributes, placement: Placement) -> Tensor:
    """Draw one shape per picture: [count, 3, PIXELS, PIXELS], -1 to 1."""
    table = rgb_table()
    canvas = plain(table[attributes.background])
    return paint(canvas, attributes.shape, placement, table[attributes.colour])


def plain(rgb: Tensor) -> Tensor:
    """Pictures filled with one colour each."""
    return rgb[:, :, None, None].expand(-1, -1, PIXELS, PIXELS)


def paint(canvas: Tensor, shape: Tensor, placement: Placement, rgb: Tensor) -> Tensor:
    """Lay one shape over each picture of the canvas."""
    cover = coverage(shape, placement).unsqueeze(1)
    return canvas + cover * (rgb[:, :, None, None] - canvas)


def coverage(shape: Tensor, placement: Placement) -> Tensor:
    """How much of each pixel its picture's shape covers, 0 to 1: the distance to the outline, clipped to one pixel."""
    ticks = torch.arange(PIXELS) + 0.5
    pixels = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1).reshape(1, -1, 2)
    points = (pixels - placement.centre[:, None]) / placement.radius[:, None, None]
    distance = torch.empty(points.shape[:2])
    for index, name in enumerate(SHAPES):
        rows = (shape == index).nonzero().squeeze(1)
        if len(rows):
            distance[rows] = OUTLINES[name](points[rows])
    return (0.5 - distance * placement.radius[:, None]).clamp(0, 1).reshape(-1, PIXELS, PIXELS)


# Signed distances, in units of the radius, y downwards ------------------------------------------------


def _circle(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - 1


def _ring(points: Tensor) -> Tensor:
    return (points.norm(dim=-1) - 0.8).abs() - 0.24


def _heart(points: Tensor) -> Tensor:
    """Two quarter circles over a right angle, after the well-known closed form."""
    scale = 0.56
    x, y = points[..., 0].abs() * scale, -points[..., 1] * scale + 0.54
    lobe = torch.hypot(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    along = 0.5 * (x + y).clamp(min=0)
    side = torch.minimum(torch.hypot(x, y - 1), torch.hypot(x - along, y - along)) * torch.sign(x - y)
    return torch.where(x + y > 1, lobe, side) / scale


def _polygon(corners: list[tuple[float, float]]) -> Callable[[Tensor], Tensor]:
    start = torch.tensor(corners)
    edge = start.roll(-1, dims=0) - start

    def distance(points: Tensor) -> Tensor:
        offset = points.unsqueeze(-2) - start
        along = ((offset * edge).sum(-1) / (edge * edge).sum(-1)).clamp(0, 1)
        nearest = (offset - along.unsqueeze(-1) * edge).norm(dim=-1).amin(-1)
        # Even-odd rule: a point is inside when a ray to the right crosses the outline an odd number of times.
        above = offset[..., 1] >= 0
        spans = above != above.roll(-1, dims=-1)
        left = (edge[:, 0] * offset[..., 1] - edge[:, 1] * offset[..., 0]) * edge[:, 1].sign() > 0
        crossings = (spans & left).sum(-1)
        return torch.where(crossings % 2 == 1, -nearest, nearest)

    return distance


def _regular(count: int, radii: tuple[float, ...], lift: float = 0.0) -> list[tuple[float, float]]:
    """Corners around the centre beginning at the top, with the radii taken in turn."""
    return [
        (
            radii[i % len(radii)] * math.sin(2 * math.pi * i / count),
            lift - radii[i % len(radii)] * math.cos(2 * math.pi * i / count),
        )
        for i in range(count)
    ]


def _plus(reach: float, half: float) -> list[tuple[float, float]]:
    corner = [(half, -reach), (half, -half), (reach, -half)]
    turns = [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)]
    return [(a * x + b * y, c * x + d * y) for a, b, c, d in turns for x, y in corner]


OUTLINES: dict[str, Callable[[Tensor], Tensor]] = {
    "circle": _circle,
    "square": _polygon([(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
    "triangle": _polygon(_regular(3, (1.25,), lift=0.25)),
    "star": _polygon(_regular(10, (1.25, 0.55))),
    "ring": _ring,
    "cross": _polygon(_plus(1.05, 0.36)),
    "diamond": _polygon([(0, -1.2), (0.85, 0), (0, 1.2), (-0.85, 0)]),
    "heart": _heart,
}
