"""What commands have in common: options that many take, and how a command that talks to the API gets its connection."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="GENPULSE_DATA_DIR", help="Folder of the stack's state.")
]
UrlOption = Annotated[str, typer.Option("--url", envvar="GENPULSE_URL", help="Where the API is.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="GENPULSE_API_KEY",
        help="API key; without it, the key that `genpulse up` made.",
        show_default=False,
    ),
]
GenerationArgument = Annotated[str, typer.Argument(metavar="ID", help="The generation, `gen_…`.")]


Running = Coroutine[Any, Any, int | None]
"""What a command does; a number that it returns is the exit status."""

DATA_DIR = Path(".genpulse")
_URL = "http://127.0.0.1:8000"


def execute(command: Running) -> None:
    """Run it to its end, and leave with its exit status."""
    raise typer.Exit(asyncio.run(command) or 0)


def talking(command: Callable[..., Running]) -> Callable[..., None]:
    """Give a command the options that say which API it talks to; it gets its connection as the first argument."""

    def talk(*, url: str, key: str | None, data_dir: Path, **given: Any) -> None:
        from genpulse.cli.connection import Connection

        execute(command(Connection.to(url, key, data_dir), **given))

    # What is imported for types alone need not be there.
    signature = inspect.signature(command, eval_str=True, locals={"Connection": Any})
    _, *own = signature.parameters.values()
    options = [
        inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=_URL, annotation=UrlOption),
        inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=KeyOption),
        inspect.Parameter("data_dir", inspect.Parameter.KEYWORD_ONLY, default=DATA_DIR, annotation=DataDirOption),
    ]
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    talk.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    talk.__name__, talk.__doc__ = command.__name__, command.__doc__
    return talk
