"""The order of what workflow code asks of Temporal, read from its source; a change of it is to be made on purpose."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path

FILE = Path(__file__).with_name("fingerprints.json")
SOURCES = Path(__file__).parents[2] / "workflows"

#: Calls that become commands, or that decide which ones do, with the module that they are of.
COMMANDS = {
    "workflow": {
        "continue_as_new",
        "deprecate_patch",
        "execute_activity",
        "execute_activity_method",
        "execute_child_workflow",
        "execute_local_activity",
        "execute_local_activity_method",
        "patched",
        "sleep",
        "start_activity",
        "start_activity_method",
        "start_child_workflow",
        "start_local_activity",
        "start_local_activity_method",
        "upsert_memo",
        "upsert_search_attributes",
        "wait_condition",
    },
    "asyncio": {"sleep", "timeout", "wait_for"},
}


def write() -> None:
    """Take the order as it is now."""
    FILE.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def known() -> dict[str, dict[str, list[str]]]:
    """The order as it was written down."""
    loaded: dict[str, dict[str, list[str]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def present() -> dict[str, dict[str, list[str]]]:
    """By module and function: its commands, and its calls of functions that have some."""
    return {source.stem: order_in(ast.parse(source.read_text(encoding="utf-8"))) for source in _sources()}


def _sources() -> list[Path]:
    return [one for one in sorted(SOURCES.rglob("*.py")) if "workflow.defn" in one.read_text(encoding="utf-8")]


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a module by name; within one module of a workflow no two have the same."""
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def order_in(tree: ast.Module) -> dict[str, list[str]]:
    """Of the source of one module."""
    busy = commanding(tree, is_command)
    order = {
        name: [_worded(call) for call in calls(function) if is_command(call) or callee(call) in busy]
        for name, function in functions(tree).items()
    }
    return {name: commands for name, commands in order.items() if commands}


def commanding(tree: ast.Module, issues: Callable[[ast.Call], bool]) -> set[str]:
    """Functions in which a call issues a command, or that call one in which one does."""
    found = functions(tree)
    busy = {name for name, node in found.items() if any(issues(call) for call in calls(node))}
    while more := {
        name for name, node in found.items() if name not in busy and any(callee(call) in busy for call in calls(node))
    }:
        busy |= more
    return busy


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call within, in the order of the source."""
    for child in ast.iter_child_nodes(node):
        yield from calls(child)
    if isinstance(node, ast.Call):
        yield node


def is_command(call: ast.Call) -> bool:
    """Whether it asks something of Temporal."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return name in COMMANDS.get(module, ())
        case _:
            return False


def callee(call: ast.Call) -> str:
    """The function of the same module, or the method of the same object, that is called; or nothing."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
        case _:
            return ""


def _worded(call: ast.Call) -> str:
    if not is_command(call):
        return callee(call)
    assert isinstance(call.func, ast.Attribute)
    what = call.args[0] if call.args else None
    named = f" {ast.unparse(what)}" if isinstance(what, ast.Name | ast.Attribute | ast.Constant) else ""
    timed = " with a time-out" if any(one.arg == "timeout" for one in call.keywords) else ""
    return f"{call.func.attr}{named}{timed}"
