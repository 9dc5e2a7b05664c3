"""`make faults`: everything is killed again and again while generations run; the figures are printed.

`python -m tests.faults.storm [--write]`; `--write` keeps them in docs/reliability.md, unless something is wrong.
"""

from __future__ import annotations

import asyncio
import sys

from tests.faults.storm import report
from tests.faults.storm.plan import Plan
from tests.faults.storm.run import storm


def main() -> int:
    """Return the exit status: 1 when something is wrong."""
    seen = asyncio.run(storm(Plan.from_environment()))
    report.show(seen)
    if seen.verdict.complaints:
        return 1
    if "--write" in sys.argv[1:]:
        report.keep(seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
