"""The figures of a storm, for the terminal and for docs/reliability.md."""

from __future__ import annotations

import os
import platform
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.faults.storm.run import Storm

PAGE = Path(__file__).parents[3] / "docs/reliability.md"
_START, _END = "<!-- storm -->\n\n", "\n\n<!-- /storm -->"


def show(storm: Storm) -> None:
    """Print the figures, and whatever is wrong."""
    console = Console()
    table = Table("figure", "measured", title=f"A storm on {_machine()}", title_justify="left")
    for row in _rows(storm):
        table.add_row(*row)
    console.print(table)
    for (status, code, message), count in storm.verdict.reasons.most_common():
        console.print(f"{count} {status}, {code}: {message}", soft_wrap=True)
    for complaint in storm.verdict.complaints:
        console.print(f"[red]✗[/red] {complaint}", soft_wrap=True)


def keep(storm: Storm) -> None:
    """Write the figures into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(_START)
    _, _, after = rest.partition(_END)
    lines = [f"Machine: {_machine()}", "", "| figure | measured |", "|---|---|"]
    lines += [f"| {figure} | {measured} |" for figure, measured in _rows(storm)]
    PAGE.write_text(before + _START + "\n".join(lines) + _END + after, "utf-8")


def _rows(storm: Storm) -> list[tuple[str, str]]:
    plan, seen, verdict, killed = storm.plan, storm.seen, storm.verdict, storm.killed
    answers = {status: count for status, count in sorted(seen.answers.items()) if status >= 400 and status != 503}
    held = sum(finding.ok for finding in verdict.invariants)
    return [
        ("generations asked for, each with an idempotency key; seed", f"{plan.generations}; {plan.seed}"),
        ("accepted; lost; made twice", f"{len(seen.ids)}; {verdict.lost}; {verdict.made_twice}"),
        ("ended as", _counts(verdict.statuses)),
        ("reasons", _counts(_codes(verdict.reasons)) or "none"),
        ("killed", _counts(killed.times)),
        ("away, longest s", ", ".join(f"{name} {max(away):.1f}" for name, away in sorted(killed.away.items()))),
        ("calls to clouds; struck by", f"{verdict.cloud_calls}; {_counts(verdict.faults)}"),
        ("jobs at clouds; attempts; paid twice", f"{verdict.jobs}; {verdict.attempts}; {verdict.paid_twice}"),
        (
            "credits captured; holds stranded; charged twice",
            f"{verdict.captured:,}; {verdict.stranded}; {verdict.charged_twice}",
        ),
        ("invariants that hold", f"{held} of {len(verdict.invariants)}"),
        ("requests of callers that got an answer", f"{seen.answers.total():,}"),
        (
            "of these 503, with a time to come back; other refusals",
            f"{seen.answers[503]}; {_counts(answers) or 'none'}",
        ),
        ("connections that broke", _counts(seen.broken) or "none"),
        ("first try to 202, p50 / p99 / longest s", _points([ms / 1000 for ms in seen.accepted_ms])),
        ("accepted to succeeded, p50 / p99 / longest s", _points(verdict.seconds)),
        ("all at rest after the last kill, s", f"{storm.settled_after:.0f}"),
        ("in all, s", f"{storm.seconds:.0f}"),
    ]


def _codes(reasons: Mapping[tuple[str, str, str], int]) -> Counter[str]:
    codes: Counter[str] = Counter()
    for (status, code, _), count in reasons.items():
        codes[f"{status}: `{code}`"] += count
    return codes


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))


def _points(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "–"
    points = statistics.quantiles(values, n=100, method="inclusive")
    return f"{points[49]:.2f} / {points[98]:.2f} / {max(values):.2f}"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = _processor() or platform.machine()
    return f"{os.cpu_count()} cores, {processor}, {memory:.0f} GiB, Python {platform.python_version()}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
