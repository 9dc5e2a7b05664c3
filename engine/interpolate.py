"""More frames per second, by following what moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from engine import video
from engine.plans import InterpolationPlan
from engine.progress import counted
from genpulse.schemas.engine import OnProgress

if TYPE_CHECKING:
    import av

#: Motion compensation with overlapping blocks of variable size: the best that the filter has.
_FOLLOW = "mi_mode=mci:mc_mode=aobmc:vsbmc=1"
#: The search blocks do not fit into less.
_MIN_SIDE = 32


def interpolate_video(plan: InterpolationPlan, target: Path, on_progress: OnProgress) -> None:
    """Write the clip at the planned frame rate, with the same duration and sound."""
    made = resample(video.decode(plan.source), fps=plan.fps, count=plan.frames)
    video.encode(target, counted(made, plan.frames, on_progress), fps=plan.fps, sound=plan.source)


def retime(frames: Sequence[av.VideoFrame], *, fps: Fraction, count: int) -> Iterator[av.VideoFrame]:
    """Spread the frames evenly over `count` at `fps`: the first stays the first and the last becomes the last."""
    if len(frames) == count:
        return (video.at(frame, index, 1 / fps) for index, frame in enumerate(frames))
    fine = 1 / (fps * max(len(frames) - 1, 1))  # a unit in which both the old and the new times are whole numbers
    spread = (video.at(frame, index * max(count - 1, 1), fine) for index, frame in enumerate(frames))
    return resample(spread, fps=fps, count=count)


def resample(frames: Iterable[av.VideoFrame], *, fps: Fraction, count: int) -> Iterator[av.VideoFrame]:
    """Yield exactly `count` frames at `fps`, each as the scene is at its moment; after the end the last one stays."""
    moments = islice(_moved(_held(frames), fps), count)
    return (video.at(frame, index, 1 / fps) for index, frame in enumerate(moments))


def _held(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Yield the frames, then the last one for ever: the filter looks ahead and would swallow the end otherwise."""
    last, shown, step = None, 0, 1
    for frame in frames:
        now = frame.pts or 0
        shown, step, last = now, now - shown or step, video.planar(frame)
        yield last
    while last:
        shown += step
        yield video.at(last, shown, last.time_base)


def _moved(frames: Iterable[av.VideoFrame], fps: Fraction) -> Iterator[av.VideoFrame]:
    import av

    graph = None
    for frame in frames:
        graph = graph or _graph(frame, fps)
        graph.push(frame)
        with suppress(av.error.BlockingIOError):  # it wants more
            while True:
                yield graph.vpull()


def _graph(frame: av.VideoFrame, fps: Fraction) -> av.filter.Graph:
    import av

    method = _FOLLOW if min(frame.width, frame.height) >= _MIN_SIDE else "mi_mode=blend"
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("minterpolate", f"fps={fps}:{method}"), graph.add("buffersink")).configure()
    return graph
