"""Failpoints: what they do when a process comes to them, and that nothing leaves a process without passing one."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What a point does ---------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, sys
from pathlib import Path
from genpulse.failpoints import Failpoint, arm_from

@Failpoint("work")
async def work(fails):
    print("working", flush=True)
    if fails:
        raise OSError

async def main(folder, fails):
    arm_from(Path(folder) if folder else None)
    for _ in range(2):
        try:
            await work(fails)
        except OSError:
            print("failed", flush=True)

asyncio.run(main(sys.argv[1], len(sys.argv) > 2))
"""


def run(folder: Path | str, *arguments: str) -> tuple[int, list[str]]:
    """How a process ended that came to the point twice, and what it said before."""
    command = [sys.executable, "-c", PROGRAM, str(folder), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not ended.stderr
    return ended.returncode, ended.stdout.split()


@pytest.mark.parametrize(("point", "said"), [("work.before", []), ("work.after", ["working"])])
def test_an_armed_point_kills_one_process_once(tmp_path: Path, point: str, said: list[str]) -> None:
    (tmp_path / point).touch()
    assert run(tmp_path) == (-signal.SIGKILL, said)
    assert not (tmp_path / point).exists()
    assert run(tmp_path) == (0, ["working", "working"])


def test_the_point_behind_is_not_reached_by_a_failure(tmp_path: Path) -> None:
    (tmp_path / "work.after").touch()
    assert run(tmp_path, "fails") == (0, ["working", "failed"] * 2)
    assert (tmp_path / "work.after").exists()


def test_other_points_and_a_folder_that_is_missing_do_nothing(tmp_path: Path) -> None:
    (tmp_path / "other.before").touch()
    assert run(tmp_path) == run(tmp_path / "missing") == run("") == (0, ["working", "working"])


def test_a_name_is_taken_once() -> None:
    program = "from genpulse.failpoints import Failpoint, points\nFailpoint('a')\nprint(points())\nFailpoint('a')"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout == "['a.before', 'a.after']\n"
    assert "there is a failpoint 'a' already" in ended.stderr


# Where points are ----------------------------------------------------------------------------------------------------

#: The calls that leave a process, as they are written.
LEAVING = re.compile(
    r"self\._session"  # the database
    r"|obstore\.\w+"
    r"|.*\.provider\.(submit|poll|find|cancel|verify_callback)"
    r"|Client\.connect|.*\.start_workflow|.*\.get_workflow_handle|.*\.workflow_service\.\w+|.*\.service_client\.\w+"
    r"|self\._script"  # Redis
    r"|.*client\.send"  # HTTP
)
#: Not on the way of a generation, or behind points that stand where it is called.
LEFT_OUT = {
    "genpulse/cli": "a person's tools",
    "genpulse/client.py": "the command's own client",
    "genpulse/doctor": "only looks",
    "genpulse/migrations": "run before anything else, each in one transaction",
    "genpulse/simulator": "stands for others",
    "genpulse/stack": "looks after processes, and is not killed itself",
    "genpulse/providers": "called by the activities, which have points around each call",
    "genpulse/upkeep/schedule.py": "written again at each interval, or begun by a person",
    "api/probes.py": "handed to `_look`, which has a point around them",
}
CALLED_BY_ACTIVITIES_OR_ROUTES = ROOT / "genpulse/providers/registry.py"


@dataclass(frozen=True)
class Function:
    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A call, the function that it stands in, and whether a failpoint stands around it there."""

    text: str
    line: int
    within: Function
    pointed: bool

    @property
    def name(self) -> str:
        return self.text.rpartition(".")[2]


@dataclass
class Module(ast.NodeVisitor):
    """Collects the calls of a module, and the functions that have a failpoint around them."""

    name: str
    source: str
    calls: list[Call] = field(default_factory=list)
    pointed: set[Function] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._names: set[str] = set()
        self._within = Function(self.name, "")
        self._around = 0
        tree = ast.parse(self.source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                self._note_names(node)
        self.visit(tree)

    def _note_names(self, node: ast.Assign) -> None:
        """`A = Failpoint("a")`, or `A, B = Failpoint("a"), Failpoint("b")`."""
        [target] = node.targets
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        self._names |= {ast.unparse(to) for to, value in zip(targets, values, strict=False) if self._is_point(value)}

    def _is_point(self, node: ast.expr) -> bool:
        return ast.unparse(node) in self._names or ast.unparse(node).startswith("Failpoint(")

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.AsyncFunctionDef | ast.FunctionDef) -> None:
        outer, around = self._within, self._around
        self._within, self._around = Function(self.name, node.name), 0
        if any(self._is_point(decorator) for decorator in node.decorator_list):
            self.pointed.add(self._within)
        for statement in node.body:
            self.visit(statement)
        self._within, self._around = outer, around

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        around = any(self._is_point(item.context_expr) for item in node.items)
        self._around += around
        self.generic_visit(node)
        self._around -= around

    def visit_Call(self, node: ast.Call) -> None:
        self.calls.append(Call(ast.unparse(node.func), node.lineno, self._within, self._around > 0))
        self.generic_visit(node)


class Program:
    """Modules by name, and what calls what. A private function is called from its own module, others from anywhere."""

    def __init__(self, modules: list[Module]) -> None:
        self._modules = modules

    @cached_property
    def _calls(self) -> list[Call]:
        return [call for module in self._modules for call in module.calls]

    @cached_property
    def _pointed(self) -> set[Function]:
        return {function for module in self._modules for function in module.pointed}

    def unprotected(self) -> list[str]:
        """Calls that leave the process where neither they nor all that lead to them have a failpoint around them."""
        return [
            f"{call.within.module}:{call.line} {call.text}"
            for call in self._calls
            if LEAVING.fullmatch(call.text) and not self._is_protected(call, frozenset())
        ]

    def _is_protected(self, call: Call, seen: frozenset[Function]) -> bool:
        if call.pointed or call.within in self._pointed or call.within in seen:
            return True
        callers = [other for other in self._calls if self._may_call(other, call.within)]
        return bool(callers) and all(self._is_protected(caller, seen | {call.within}) for caller in callers)

    def _may_call(self, call: Call, function: Function) -> bool:
        return call.name == function.name and (
            call.within.module == function.module or not function.name.startswith("_")
        )


def sources() -> Iterator[Path]:
    for room in ("activities", "api", "genpulse"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if path == CALLED_BY_ACTIVITIES_OR_ROUTES or not name.startswith(tuple(LEFT_OUT)):
                yield path
    yield ROOT / "worker.py"


def test_nothing_leaves_a_process_without_passing_a_point() -> None:
    program = Program([Module(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in sources()])
    assert program.unprotected() == []


def test_this_would_be_seen() -> None:
    program = """
_STARTING, _ENDING = Failpoint("start"), Failpoint("end")

async def entry():
    await _helper()
    async with _STARTING:
        await client.start_workflow(1)
    await client.start_workflow(2)

async def _helper():
    await obstore.put_async(store)

@Failpoint("decorated")
async def decorated():
    await _helper()

@Failpoint("below")
async def below():
    await _deep()

async def _deep():
    async with _ENDING, self._session():
        await account.provider.poll(job)
    await account.provider.poll(job)
"""
    assert Program([Module("m", program)]).unprotected() == ["m:8 client.start_workflow", "m:11 obstore.put_async"]


def test_the_page_says_what_is_true_at_each_point() -> None:
    files = (path for room in ("activities", "api", "genpulse") for path in (ROOT / room).rglob("*.py"))
    names = {name for path in files for name in re.findall(r'Failpoint\("([\w.]+)"\)', path.read_text("utf-8"))}
    page = (ROOT / "docs/failpoints.md").read_text("utf-8")
    told = {name for line in re.findall(r"(?m)^\| (`[^|]+) \|", page) for name in re.findall(r"`([\w.]+)`", line)}
    assert told == names
