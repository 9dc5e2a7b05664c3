"""Upkeep: one run of all its duties, each whether or not another one could be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.upkeep import UpkeepActivities
    from genpulse.schemas.upkeep import DutyOrder, DutyReport, UpkeepOrder, UpkeepReport
    from workflows.policies import UPKEEP

Duty = Callable[[UpkeepActivities, DutyOrder], Awaitable[DutyReport]]

#: Every run: what fell between database and Temporal. A duty of another kind of workflow belongs here too.
RECONCILING: dict[str, Duty] = {
    "rows": UpkeepActivities.reconcile_rows,
    "workflows": UpkeepActivities.reconcile_runs,
    "deliveries": UpkeepActivities.reconcile_deliveries,
    "attempts": UpkeepActivities.close_attempts,
}
#: Now and then: what is too old. Rows go before the files that they need.
TIDYING: dict[str, Duty] = {
    "retention": UpkeepActivities.expire,
    "storage": UpkeepActivities.sweep_storage,
}


@workflow.defn(name="UpkeepWorkflow")
class UpkeepWorkflow:
    """Started by a schedule, one at a time. Its result is the report that a person reads in the Web UI."""

    @workflow.run
    async def run(self, order: UpkeepOrder) -> UpkeepReport:
        """Do what is due. Fails, with the report, where a duty could not be done."""
        last = workflow.get_last_completion_result(UpkeepReport) or UpkeepReport()
        report = UpkeepReport(tidied_at=last.tidied_at)
        duties = dict(RECONCILING)
        if last.tidied_at is None or workflow.now() - last.tidied_at >= order.tidy_every:
            duties |= TIDYING
            report.tidied_at = workflow.now()
        for name, duty in duties.items():
            await self._do(name, duty, order, last, report)
        workflow.set_current_details(_in_words(report))
        if report.failures:
            raise ApplicationError(_in_words(report), report, type="upkeep_failed", non_retryable=True)
        return report

    async def _do(self, name: str, duty: Duty, order: UpkeepOrder, last: UpkeepReport, report: UpkeepReport) -> None:
        try:
            done = await workflow.execute_activity_method(
                duty,
                DutyOrder(begin_after=last.stopped_after.get(name, "")),
                task_queue=order.queue,
                summary=name,
                **UPKEEP,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            report.failures[name] = str(error.cause)
            return
        report.duties[name] = done
        if done.stopped_after:
            report.stopped_after[name] = done.stopped_after
            report.tidied_at = last.tidied_at  # there is more of it to do


def _in_words(report: UpkeepReport) -> str:
    lines = [
        f"**{name}** " + ", ".join(f"{what} {count}" for what, count in done.counts.items())
        for name, done in report.duties.items()
    ]
    return "\n\n".join([*lines, *(f"**{name}** failed: {why}" for name, why in report.failures.items())])
