"""What each death has cost, for the terminal and for docs/failpoints.md."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

PAGE = Path(__file__).parents[2] / "docs/failpoints.md"
WRITING = bool(os.environ.get("GENPULSE_WRITE_FAILPOINTS"))
#: What is promised of a machine that has nothing else to do.
MOST = 15.0

_START, _END = "<!-- recoveries -->\n\n", "\n\n<!-- /recoveries -->"


@dataclass(frozen=True)
class Recovery:
    """How much later all had ended because a process died at the point."""

    PROPERTY: ClassVar[str] = "recovery"

    point: str
    scenario: str
    seconds: float


def recoveries(reports: Iterable[Any]) -> list[Recovery]:
    """Those that tests have recorded, the longest first."""
    told = [value for report in reports for name, value in report.user_properties if name == Recovery.PROPERTY]
    return sorted((Recovery(*one) for one in told), key=lambda one: -one.seconds)


def lines(found: list[Recovery]) -> list[str]:
    """The table, as Markdown."""
    seconds = [one.seconds for one in found]
    points = {one.point for one in found}
    late = sum(one > MOST for one in seconds)
    figures = f"median {statistics.median(seconds):.1f} s, most {seconds[0]:.1f} s, {late} above {MOST:g} s"
    return [
        f"{len(found)} deaths at {len(points)} points: {figures}.",
        "",
        "| seconds | point | scenario |",
        "|---|---|---|",
        *(f"| {max(one.seconds, 0):.1f} | `{one.point}` | {one.scenario} |" for one in found),
    ]


def keep(found: list[Recovery]) -> None:
    """Write the table into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(_START)
    _, _, after = rest.partition(_END)
    PAGE.write_text(before + _START + "\n".join(lines(found)) + _END + after, "utf-8")
