"""Workflow sources with a deliberate change of their commands, each as it could slip in with an edit."""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from tests.replay.fingerprints import SOURCES, callee, calls, commanding, is_command

Block = list[ast.stmt]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Change = Callable[[ast.Module, Block, int, Function], bool]
"""Makes a change at a place, if it can be made there."""


@dataclass(frozen=True)
class Reorder:
    """One change of one module: what it is, and the changed source."""

    module: str
    what: str
    tree: ast.Module

    @contextmanager
    def compiled(self) -> Iterator[ModuleType]:
        """The module under another name, while it is needed."""
        module = ModuleType(f"reordered_{self.module}")
        sys.modules[module.__name__] = module  # where annotations are looked up
        try:
            exec(compile(ast.fix_missing_locations(self.tree), f"<{self.what}>", "exec"), module.__dict__)
            yield module
        finally:
            del sys.modules[module.__name__]


def reorders(module: str, *changes: Change) -> list[Reorder]:
    """Each of these changes at each place where it can be made."""
    source = (SOURCES / f"{module}.py").read_text(encoding="utf-8")
    made = []
    for number in range(len(list(_places(ast.parse(source))))):
        for change in changes:
            tree = ast.parse(source)
            block, index, function = list(_places(tree))[number]
            line = f"line {block[index].lineno} of workflows/{module}.py, in {function.name}"
            if change(tree, block, index, function):
                made.append(Reorder(module, f"{change.__name__.replace('_', ' ')}: {line}", tree))
    return made


def _places(tree: ast.Module) -> Iterator[tuple[Block, int, Function]]:
    """Statements that issue a command, themselves or through a function of theirs, with their blocks."""
    busy = _busy(tree)
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            for _, block in ast.iter_fields(node):
                if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                    yield from ((block, i, function) for i, one in enumerate(block) if _commands(one, busy))


def _busy(tree: ast.Module) -> set[str]:
    return commanding(tree, _issues)


def _issues(call: ast.Call) -> bool:
    """To wait without a limit makes no timer, and so no command."""
    waits = is_command(call) and isinstance(call.func, ast.Attribute) and call.func.attr == "wait_condition"
    return is_command(call) and (not waits or any(one.arg == "timeout" for one in call.keywords))


def _commands(statement: ast.stmt, busy: set[str]) -> bool:
    """Within the statement itself, not within the blocks that it may have."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    own = [
        value
        for _, value in ast.iter_fields(statement)
        if not (isinstance(value, list) and value and isinstance(value[0], ast.stmt | ast.ExceptHandler))
    ]
    parts = [part for value in own for part in (value if isinstance(value, list) else [value])]
    return any(
        _issues(call) or callee(call) in busy for part in parts if isinstance(part, ast.AST) for call in calls(part)
    )


def one_more(_tree: ast.Module, block: Block, index: int, function: Function) -> bool:
    """A timer before it, or, where nothing can be waited for, the same twice."""
    if isinstance(function, ast.AsyncFunctionDef):
        block.insert(index, ast.parse("await workflow.sleep(1)").body[0])
    else:
        block.insert(index, copy.deepcopy(block[index]))
    return True


def left_out(_tree: ast.Module, block: Block, index: int, _function: Function) -> bool:
    """It is not done. Only where nobody needs its result."""
    if not isinstance(block[index], ast.Expr):
        return False
    block[index] = ast.Pass()
    return True


def put_off(tree: ast.Module, block: Block, index: int, _function: Function) -> bool:
    """It is done after the next one. Only where nobody needs its result before."""
    busy = _busy(tree)
    following = next(
        (at for at in range(index + 1, len(block)) if _commands(block[at], busy) or _branches(block[at], busy)), None
    )
    if following is None or not isinstance(block[index], ast.Expr | ast.Assign):
        return False
    between = [node for one in block[index + 1 : following + 1] for node in ast.walk(one)]
    made = {
        node.id for node in ast.walk(block[index]) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    if made & {node.id for node in between if isinstance(node, ast.Name)} or any(
        isinstance(node, ast.Return) for node in between
    ):
        return False
    block.insert(following, block.pop(index))
    return True


def _branches(statement: ast.stmt, busy: set[str]) -> bool:
    return isinstance(statement, ast.If) and any(_issues(call) or callee(call) in busy for call in calls(statement))


def patched(_tree: ast.Module, block: Block, index: int, function: Function) -> bool:
    """A timer before it, as docs/upgrades.md would have it put in."""
    if not isinstance(function, ast.AsyncFunctionDef):
        return False
    block.insert(index, ast.parse("if workflow.patched('one-more'):\n    await workflow.sleep(1)").body[0])
    return True
