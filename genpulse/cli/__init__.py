"""The `genpulse` command: what can be typed. What a command does is in the module that it imports when it runs.

So `genpulse --help` answers at once, and no command waits for libraries that another one needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genpulse import __version__
from genpulse._rooms import open_rooms
from genpulse.cli import accounts
from genpulse.cli.options import DATA_DIR, DataDirOption, GenerationArgument, Running, execute, talking
from genpulse.errors import GenPulseError

if TYPE_CHECKING:
    from genpulse.cli.connection import Connection
    from genpulse.cli.dead_letters import Wanted

app = typer.Typer(
    name="genpulse",
    help="Generative images and video as durable workflows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
jobs = typer.Typer(help="List, show, cancel and watch generations.", no_args_is_help=True)
webhooks = typer.Typer(help="Have events sent to a URL, and see what became of them.", no_args_is_help=True)
_SERVERS, _CALLS = "Run GenPulse", "Use GenPulse"

app.add_typer(jobs, name="jobs", rich_help_panel=_CALLS)
app.add_typer(webhooks, name="webhooks", rich_help_panel=_CALLS)
app.add_typer(accounts.credits_, name="credits", rich_help_panel=_CALLS)
app.add_typer(accounts.keys, name="keys", rich_help_panel=_CALLS)
app.add_typer(accounts.tenants, name="tenants", rich_help_panel=_SERVERS)

DeadLettersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", help="The generations, `gen_…`.", show_default=False)
]
CodeOption = Annotated[str | None, typer.Option(help="Those with this error.", show_default=False)]
ProviderOption = Annotated[str | None, typer.Option(help="Those that failed at this provider.", show_default=False)]
ModelOption = Annotated[str | None, typer.Option(help="Those of this model.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask, after showing what will be hit.")]


def main() -> None:
    """Run a command. What goes wrong on purpose is said in a sentence, with exit status 1."""
    open_rooms()
    try:
        app()
    except GenPulseError as error:
        typer.secho(f"genpulse: {error.message}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _version(asked: bool) -> None:  # noqa: FBT001 - the form of a typer callback
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    _asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel=_SERVERS)
def up(
    port: Annotated[
        int, typer.Option(envvar="GENPULSE_SERVER__PORT", help="API and dashboard; 0: any free one.")
    ] = 8000,
    temporal_port: Annotated[int, typer.Option(help="Temporal; 0: any free one.")] = 7233,
    ui_port: Annotated[int, typer.Option(help="Temporal Web UI; 0: any free one.")] = 8233,
    data_dir: DataDirOption = DATA_DIR,
    *,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Use simulated clouds, to try all of it for free.")
    ] = False,
) -> None:
    """Run the whole stack in the foreground; Ctrl-C stops it. Its state is kept."""
    from genpulse.cli.up import run
    from genpulse.stack import Ports

    execute(run(data_dir, Ports(api=port, temporal=temporal_port, ui=ui_port), simulate=simulate))


@app.command(rich_help_panel=_SERVERS)
def api() -> None:
    """Run one API process, configured by GENPULSE_… variables."""
    from genpulse.cli.serve import run_api

    run_api()


@app.command(rich_help_panel=_SERVERS)
def worker(
    queues: Annotated[str, typer.Option(help="Task queues to serve, separated by commas; all when left out.")] = "",
) -> None:
    """Run one worker process."""
    from genpulse.cli.serve import run_worker

    run_worker([name.strip() for name in queues.split(",") if name.strip()])


@app.command(rich_help_panel=_SERVERS)
def migrate() -> None:
    """Bring the database to the schema of this version."""
    from genpulse.cli.serve import migrate_database

    execute(migrate_database())


@app.command(rich_help_panel=_SERVERS)
def doctor(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")] = False
) -> None:
    """Check every dependency and every invariant; exit status 1 when something is wrong."""
    from genpulse.cli.diagnosis import run

    execute(run(as_json=as_json))


@app.command(rich_help_panel=_SERVERS)
def upkeep() -> None:
    """Have a worker do upkeep now, and show what it did: reconciliation, and what is due of retention."""
    from genpulse.cli.diagnosis import upkeep as run

    execute(run())


@app.command(rich_help_panel=_SERVERS)
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8900,
    seconds_per_job: Annotated[float, typer.Option(min=0, help="How long a simulated job takes.")] = 2.0,
    root: Annotated[str | None, typer.Option(help="Cloud that answers without its name in the path too.")] = None,
) -> None:
    """Run the simulated clouds, to try GenPulse without an account."""
    from genpulse.cli.simulate import run

    run(host, port, seconds_per_job, root)


@app.command(rich_help_panel=_SERVERS)
def demo() -> None:
    """Run text → image → video → upscaled video on this machine and show the files."""
    from genpulse.cli.demo import run

    execute(run())


@app.command(rich_help_panel=_CALLS)
@talking
def generate(
    connection: Connection,
    *,
    prompt: Annotated[str | None, typer.Argument(help="What to make.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option(help="provider/name; without it the router chooses.", show_default=False)
    ] = None,
    operation: Annotated[str | None, typer.Option(help="For example image-to-video.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder for the outputs.")] = Path(),
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="KEY=VALUE", help="Another input, for example duration=2.", show_default=False),
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Image file to start from.", show_default=False)] = None,
    video: Annotated[Path | None, typer.Option(help="Video file to start from.", show_default=False)] = None,
) -> Running:
    """Generate something, watch it, and save what comes out."""
    from genpulse.cli.generate import Wish, run

    wish = Wish(prompt=prompt, model=model, operation=operation, inputs=inputs or [], image=image, video=video)
    return run(connection, wish, out)


@app.command(rich_help_panel=_CALLS)
@talking
def models(connection: Connection) -> Running:
    """List the models and what they take."""
    from genpulse.cli.jobs import show_models

    return show_models(connection)


@jobs.command("list")
@talking
def list_jobs(
    connection: Connection,
    *,
    status: Annotated[str | None, typer.Option(help="Only those in this status.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model.", show_default=False)] = None,
    operation: Annotated[str | None, typer.Option(help="Only those of this operation.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
) -> Running:
    """The newest generations."""
    from genpulse.cli.jobs import show_list

    filters = {"status": status, "model": model, "operation": operation}
    return show_list(connection, limit=limit, filters=filters)


@jobs.command("show")
@talking
def show_job(connection: Connection, generation: GenerationArgument) -> Running:
    """One generation with its steps and outputs."""
    from genpulse.cli.jobs import show_one

    return show_one(connection, generation)


@jobs.command("cancel")
@talking
def cancel_job(connection: Connection, generation: GenerationArgument) -> Running:
    """Cancel a generation."""
    from genpulse.cli.jobs import cancel

    return cancel(connection, generation)


@jobs.command("dead-letters")
@talking
def list_dead_letters(
    connection: Connection,
    *,
    code: Annotated[str | None, typer.Option(help="Only those with this error.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
) -> Running:
    """What cannot go on by itself and waits for `retry` or `discard`."""
    from genpulse.cli.dead_letters import show

    return show(connection, limit=limit, code=code)


@jobs.command("retry")
@talking
def retry_jobs(
    connection: Connection,
    *,
    generations: DeadLettersArgument = None,
    with_model: Annotated[
        str | None, typer.Option("--with", help="Another model for the step that failed.", show_default=False)
    ] = None,
    code: CodeOption = None,
    provider: ProviderOption = None,
    model: ModelOption = None,
    everything: AllOption = False,
    yes: YesOption = False,
) -> Running:
    """Have dead letters go on from the step that failed: these, those that a filter names, or all."""
    from genpulse.cli.dead_letters import decide

    wanted = _wanted(generations, everything=everything, code=code, provider=provider, model=model)
    return decide(connection, "retry", wanted, model=with_model, yes=yes)


@jobs.command("discard")
@talking
def discard_jobs(
    connection: Connection,
    *,
    generations: DeadLettersArgument = None,
    code: CodeOption = None,
    provider: ProviderOption = None,
    model: ModelOption = None,
    everything: AllOption = False,
    yes: YesOption = False,
) -> Running:
    """End dead letters as failed: these, those that a filter names, or all."""
    from genpulse.cli.dead_letters import decide

    wanted = _wanted(generations, everything=everything, code=code, provider=provider, model=model)
    return decide(connection, "discard", wanted, model=None, yes=yes)


@jobs.command("watch")
@talking
def watch_job(connection: Connection, generation: GenerationArgument) -> Running:
    """Follow a generation until it has ended."""
    from genpulse.cli.jobs import watch

    return watch(connection, generation)


WebhookArgument = Annotated[str, typer.Argument(metavar="ID", help="The webhook, `whk_…`.")]
DeliveryArgument = Annotated[str, typer.Argument(metavar="DELIVERY", help="The event, `evt_…`.")]


@webhooks.command("list")
@talking
def list_webhooks(connection: Connection) -> Running:
    """The webhooks that get the events of all generations."""
    from genpulse.cli.webhooks import show_list

    return show_list(connection)


@webhooks.command("add")
@talking
def add_webhook(
    connection: Connection,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Where events are to go, https://…")],
    *,
    events: Annotated[
        list[str] | None,
        typer.Option("--event", help="For example generation.succeeded; all when left out.", show_default=False),
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
) -> Running:
    """Have events sent to a URL. Prints the secret that they are signed with, this once."""
    from genpulse.cli.webhooks import add

    return add(connection, target, events=events or [], description=description)


@webhooks.command("enable")
@talking
def enable_webhook(connection: Connection, webhook: WebhookArgument) -> Running:
    """Have a disabled webhook get events again."""
    from genpulse.cli.webhooks import enable

    return enable(connection, webhook)


@webhooks.command("remove")
@talking
def remove_webhook(connection: Connection, webhook: WebhookArgument) -> Running:
    """Delete a webhook, with its log."""
    from genpulse.cli.webhooks import remove

    return remove(connection, webhook)


@webhooks.command("rotate")
@talking
def rotate_webhook(
    connection: Connection,
    webhook: WebhookArgument,
    *,
    overlap_hours: Annotated[float, typer.Option(min=0, max=168, help="How long the former secret signs too.")] = 24,
) -> Running:
    """Give a webhook a new secret, and print it, this once."""
    from genpulse.cli.webhooks import rotate

    return rotate(connection, webhook, overlap_seconds=round(overlap_hours * 3600))


@webhooks.command("ping")
@talking
def ping_webhook(connection: Connection, webhook: WebhookArgument) -> Running:
    """Send a webhook something, and say whether it has arrived."""
    from genpulse.cli.webhooks import ping

    return ping(connection, webhook)


@webhooks.command("deliveries")
@talking
def list_deliveries(
    connection: Connection,
    webhook: WebhookArgument,
    *,
    status: Annotated[str | None, typer.Option(help="pending, delivered or failed.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
) -> Running:
    """What was sent to a webhook, and what became of it."""
    from genpulse.cli.webhooks import show_deliveries

    return show_deliveries(connection, webhook, limit=limit, status=status)


@webhooks.command("redeliver")
@talking
def redeliver_event(connection: Connection, webhook: WebhookArgument, delivery: DeliveryArgument) -> Running:
    """Send an event again, now, and say whether it has arrived."""
    from genpulse.cli.webhooks import redeliver

    return redeliver(connection, webhook, delivery)


def _wanted(ids: list[str] | None, *, everything: bool, **filters: str | None) -> Wanted:
    from genpulse.cli.dead_letters import Wanted

    given = {name: value for name, value in filters.items() if value is not None}
    return Wanted(ids=ids or [], filters=given, everything=everything)
