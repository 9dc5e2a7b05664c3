"""A run: which nodes it is made of, how far it is, what it has made, and with which message it ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from genpulse.simulator.clouds.comfyui.nodes import CLASSES, behind, steps_of
from genpulse.simulator.jobs import File, Job, State


class Moment(NamedTuple):
    """Where a run is: which node it is at, and how many of that node's steps are done."""

    node: str
    value: int


def nodes_of(job: Job) -> dict[str, Any]:
    """In the order in which they run."""
    return behind(job.extra["nodes"], job.body["prompt"])


def moment_of(job: Job, now: float) -> Moment:
    """Every step takes the same time."""
    steps = {key: steps_of(node) for key, node in nodes_of(job).items()}
    passed = (now - job.started_at) / max(job.seconds * 0.75, 1e-6)
    done = min(int(passed * sum(steps.values())), sum(steps.values()) - 1)
    for key, most in steps.items():
        if done < most:
            return Moment(key, done)
        done -= most
    raise AssertionError("a run has nodes")


def states_of(job: Job, moment: Moment) -> dict[str, Any]:
    """The nodes that have begun, as the server tells of them."""
    told = {}
    for key, node in nodes_of(job).items():
        here, most = key == moment.node, steps_of(node)
        state = {"value": moment.value if here else most, "max": most, "state": "running" if here else "finished"}
        told[key] = state | {"node_id": key, "display_node_id": key, "real_node_id": key, "prompt_id": job.id}
        if here:
            break
    return told


def ran_before(workflow: dict[str, Any], jobs: Iterable[Job]) -> Job | None:
    """The run whose files a workflow that was also the latest one gets again: all of its nodes are cached."""
    latest = next((job for job in jobs if job.state is State.SUCCEEDED and not job.empty), None)
    if latest is None or _bare(latest.body["prompt"]) != _bare(workflow):
        return None
    first: Job = latest.extra.get("cached", latest)
    return first


def outputs_of(job: Job) -> dict[str, Any]:
    """Files by node, under the key of its kind. What is cached has the name of the first time."""
    source = job if job.empty else job.extra.get("cached", job)
    outputs: dict[str, Any] = {}
    for key, file in zip(source.extra["nodes"], source.files, strict=False):
        kind = CLASSES[source.body["prompt"][key]["class_type"]]
        item = {"filename": filename(source, file), "subfolder": "", "type": "temp" if kind.temporary else "output"}
        node = outputs.setdefault(key, {kind.key: []} | ({"animated": [True]} if kind.animated else {}))
        node[kind.key].append(item)
    return outputs


def filename(job: Job, file: File) -> str:
    number, _, suffix = file.name.partition(".")
    return f"{job.id}_{int(number):05}_.{suffix}"


def last_message(job: Job, state: State, stamp: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if state is State.SUCCEEDED:
        return "execution_success", stamp
    key, node = next(iter(nodes_of(job).items()))
    where = {"node_id": key, "node_type": node["class_type"], "executed": [], **stamp}
    if state is State.CANCELLED:
        return "execution_interrupted", where
    error = {
        "exception_message": "The simulated node failed.",
        "exception_type": "RuntimeError",
        "traceback": ['  File "/srv/comfyui/execution.py", line 1'],
        "current_inputs": {},
        "current_outputs": [],
    }
    return "execution_error", where | error


def _bare(workflow: dict[str, Any]) -> dict[str, Any]:
    return {key: (node["class_type"], node.get("inputs", {})) for key, node in workflow.items()}
