"""Commands about who uses the service and what it costs them: keys, credits, tenants.

What each does is in the module that it imports when it runs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from genpulse.cli.options import GenerationArgument, Running, talking

if TYPE_CHECKING:
    from genpulse.cli.connection import Connection

credits_ = typer.Typer(help="What you have, where it went, and adding to it.", no_args_is_help=True)
keys = typer.Typer(help="Make, rotate and revoke keys.", no_args_is_help=True)
tenants = typer.Typer(help="Who uses the service, and within which limits.", no_args_is_help=True)

Day = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC) on which it ends.", show_default=False)
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="Of this tenant; for administrators.", show_default=False)
]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant, `ten_…` or `default`.")]


@credits_.command("show")
@talking
def show_credits(connection: Connection, *, tenant: TenantOption = None) -> Running:
    """What is available, what is held, and what expires."""
    from genpulse.cli.credits import show

    return show(connection, tenant)


@credits_.command("ledger")
@talking
def list_transactions(
    connection: Connection,
    *,
    kind: Annotated[str | None, typer.Option(help="grant, hold, capture, release …", show_default=False)] = None,
    generation: Annotated[str | None, typer.Option(help="Those of this generation.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    tenant: TenantOption = None,
) -> Running:
    """Every change of the balance, newest first."""
    from genpulse.cli.credits import show_ledger

    return show_ledger(connection, tenant, limit=limit, kind=kind, generation=generation)


@credits_.command("usage")
@talking
def show_usage(
    connection: Connection,
    *,
    by: Annotated[str, typer.Option(help="day, model, provider, key; several with commas.")] = "day",
) -> Running:
    """What credits were spent on."""
    from genpulse.cli.credits import show_usage as show

    return show(connection, by)


@credits_.command("grant")
@talking
def grant_credits(
    connection: Connection,
    tenant: TenantArgument,
    amount: Annotated[int, typer.Argument(min=1, help="Credits.")],
    *,
    note: Annotated[str, typer.Option(help="What for.", show_default=False)] = "",
    expires: Day = None,
    once: Annotated[
        str | None, typer.Option(help="A key, such as an invoice's: with the same it happens once.", show_default=False)
    ] = None,
) -> Running:
    """Give a tenant credits; for administrators."""
    from genpulse.cli.credits import change

    return change(connection, tenant, "grant", amount=amount, note=note, expires_at=_instant(expires), once=once)


@credits_.command("refund")
@talking
def refund_credits(
    connection: Connection,
    tenant: TenantArgument,
    generation: GenerationArgument,
    amount: Annotated[int, typer.Argument(min=1, help="Credits.")],
    *,
    note: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
) -> Running:
    """Give back what a generation has cost; for administrators."""
    from genpulse.cli.credits import change

    return change(connection, tenant, "refund", amount=amount, generation_id=generation, note=note)


@credits_.command("adjust")
@talking
def adjust_credits(
    connection: Connection,
    tenant: TenantArgument,
    amount: Annotated[int, typer.Option("--by", help="Credits; below zero to take some away.")],
    *,
    note: Annotated[str, typer.Option(help="Why.", show_default=False)] = "",
) -> Running:
    """Correct a balance; for administrators."""
    from genpulse.cli.credits import change

    return change(connection, tenant, "adjust", amount=amount, note=note)


KeyArgument = Annotated[str, typer.Argument(metavar="ID", help="The key, `key_…`.")]
ScopesOption = Annotated[
    list[str] | None,
    typer.Option("--scope", help="generate, read, manage, admin; generate and read when left out.", show_default=False),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", help="Models that may be used, such as kling/*; all when left out.", show_default=False),
]


@keys.command("list")
@talking
def list_keys(connection: Connection, *, tenant: TenantOption = None) -> Running:
    """The keys of your tenant, those that work no more included."""
    from genpulse.cli.keys import show_list

    return show_list(connection, tenant)


@keys.command("create")
@talking
def create_key(
    connection: Connection,
    *,
    name: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    scopes: ScopesOption = None,
    models: ModelsOption = None,
    expires: Day = None,
    tenant: TenantOption = None,
) -> Running:
    """Make a key, and print it, this once."""
    from genpulse.cli.keys import create

    return create(connection, tenant, name=name, scopes=scopes, models=models, expires_at=_instant(expires))


@keys.command("rotate")
@talking
def rotate_key(
    connection: Connection,
    key_id: KeyArgument,
    *,
    overlap_hours: Annotated[float, typer.Option(min=0, max=168, help="How long the former key works too.")] = 24,
) -> Running:
    """Make a key in place of this one, and print it, this once."""
    from genpulse.cli.keys import rotate

    return rotate(connection, key_id, overlap_seconds=round(overlap_hours * 3600))


@keys.command("revoke")
@talking
def revoke_key(connection: Connection, key_id: KeyArgument, *, tenant: TenantOption = None) -> Running:
    """Have a key work no more, within five seconds."""
    from genpulse.cli.keys import revoke

    return revoke(connection, key_id, tenant)


NameOption = Annotated[str | None, typer.Option(help="Its name.", show_default=False)]
WeightOption = Annotated[
    float | None, typer.Option(help="Its share where several tenants wait; 1 is usual.", show_default=False)
]
LowBalanceOption = Annotated[
    int | None, typer.Option(help="Credits at which `credits.low` is sent.", show_default=False)
]
LimitsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="requests_per_minute, in_flight, spend_per_day, input_bytes; nothing behind = takes it away.",
        show_default=False,
    ),
]


@tenants.command("list")
@talking
def list_tenants(connection: Connection) -> Running:
    """All tenants, with what limits them."""
    from genpulse.cli.tenants import show_list

    return show_list(connection)


@tenants.command("create")
@talking
def create_tenant(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.")],
    *,
    credits_: Annotated[int, typer.Option("--credits", min=0, help="Granted at once.")] = 0,
    weight: WeightOption = None,
    low_balance: LowBalanceOption = None,
    limits: LimitsOption = None,
    models: ModelsOption = None,
) -> Running:
    """Make a tenant, with a first key of all scopes but `admin`, which is printed, this once."""
    from genpulse.cli.tenants import create, limits_of

    values = {"weight": weight, "low_balance": low_balance, "limits": limits_of(limits, models)}
    return create(connection, name=name, credits=credits_, **values)


@tenants.command("set")
@talking
def set_tenant(
    connection: Connection,
    tenant: TenantArgument,
    *,
    name: NameOption = None,
    weight: WeightOption = None,
    low_balance: LowBalanceOption = None,
    limits: LimitsOption = None,
    models: ModelsOption = None,
    suspended: Annotated[
        bool | None, typer.Option("--suspend/--resume", help="Whether its keys are refused.", show_default=False)
    ] = None,
) -> Running:
    """Change what is given; the rest stays."""
    from genpulse.cli.tenants import change, limits_of

    values = {"name": name, "weight": weight, "low_balance": low_balance, "suspended": suspended}
    return change(connection, tenant, limits=limits_of(limits, models), **values)


def _instant(day: datetime | None) -> str | None:
    return day.replace(tzinfo=UTC).isoformat() if day else None
