"""Contracts of upkeep: what its workflow is told, and what it reports."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel

from genpulse.schemas.queues import UPKEEP_QUEUE


class UpkeepOrder(BaseModel):
    """Input of UpkeepWorkflow.

    What is too old is looked for less often than what went wrong: it has time, and going through a bucket costs money.
    """

    queue: str = UPKEEP_QUEUE
    tidy_every: timedelta = timedelta(hours=1)


class DutyOrder(BaseModel):
    """Input of each duty: `begin_after` is where the last run had to stop; empty, it begins at the beginning."""

    begin_after: str = ""


class DutyReport(BaseModel):
    """What a duty has found and done, by name. `stopped_after` is filled where its time did not suffice for all."""

    counts: dict[str, int] = {}
    stopped_after: str = ""


class UpkeepReport(BaseModel):
    """Result of UpkeepWorkflow: what each duty did; `failures` says why one could not. Those left out were not due.

    The next run learns from it when that was, and where to go on.
    """

    duties: dict[str, DutyReport] = {}
    failures: dict[str, str] = {}
    tidied_at: datetime | None = None
    stopped_after: dict[str, str] = {}
