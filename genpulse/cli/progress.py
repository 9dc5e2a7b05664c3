"""A generation drawn live at the terminal, one bar for each step."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from genpulse.client import Client, ClientError, Event
from genpulse.schemas.generations import Generation, Step
from genpulse.schemas.states import GenerationStatus, StepStatus


async def follow(client: Client, generation: Generation, console: Console) -> Generation:
    """Draw the generation until it has ended or waits for a person; return how it stands then."""
    bars = StepBars(generation, console)
    with bars.progress:
        try:
            async for event in client.events(generation.id):
                bars.apply(event)
                if event.type == "status" and event.data["status"] == GenerationStatus.DEAD_LETTERED:
                    break
        except asyncio.CancelledError:
            console.print(
                f"{generation.id} goes on without you; `genpulse jobs watch {generation.id}` comes back to it."
            )
            raise
    return await client.get(generation.id)


def failure(generation: Generation) -> ClientError | None:
    """What there is to say of a generation that did not succeed."""
    if generation.status == GenerationStatus.SUCCEEDED:
        return None
    step = next((step for step in generation.steps if step.status == StepStatus.FAILED), None)
    where = f" in step {step.id!r}" if step else ""
    reason = f": {generation.error.message} ({generation.error.code})" if generation.error else "."
    if generation.status == GenerationStatus.DEAD_LETTERED:
        return ClientError(
            f"{generation.id} waits as a dead letter{where}{reason} Have it go on with `genpulse jobs retry "
            f"{generation.id}`, or end it with `genpulse jobs discard {generation.id}`."
        )
    return ClientError(f"{generation.id} ended {generation.status}{where}{reason}")


class StepBars:
    """The bars, moved by events."""

    def __init__(self, generation: Generation, console: Console) -> None:
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks = {step.id: self._add(step) for step in generation.steps}

    def apply(self, event: Event) -> None:
        """Show what has happened."""
        task = self._tasks.get(event.data.get("step", ""))
        if task is None:
            return
        if event.type == "attempt":
            self._show_attempt(task, event)
        elif event.type == "progress":
            fraction = event.data["step_progress"]
            self.progress.update(task, completed=fraction)
            if fraction >= 1:
                self.progress.stop_task(task)

    def _add(self, step: Step) -> TaskID:
        description = f"[bold]{step.id}[/] {step.operation} [dim]{step.model}"
        task = self.progress.add_task(description, total=1.0, start=False)
        self.progress.update(task, completed=step.progress)
        return task

    def _show_attempt(self, task: TaskID, event: Event) -> None:
        if event.data["status"] == "running":
            self.progress.start_task(task)
        elif error := event.data.get("error"):
            self.progress.console.print(f"{event.data['step']}: {error['message']}", style="yellow", markup=False)
