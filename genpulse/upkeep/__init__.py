"""What sets right whatever fell between two stools, and removes what has had its time: the core of each duty.

Each duty may be repeated, works in batches, and stops when its time is over; the next run goes on from there.
"""

from __future__ import annotations

from genpulse.upkeep.reconciling import Reconciler
from genpulse.upkeep.retention import Retention
from genpulse.upkeep.schedule import SCHEDULE_ID, WORKFLOW_TYPE, keep_schedule, run_now, set_schedule

__all__ = ["SCHEDULE_ID", "WORKFLOW_TYPE", "Reconciler", "Retention", "keep_schedule", "run_now", "set_schedule"]
