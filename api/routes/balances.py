"""Credits: what a tenant has, every change of it, what was used, and what an administrator adds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast, get_args

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from api import openapi
from api.deps import Cursor, IdempotencyKey, Operator, Reader, ServicesDep, TenantId, cursor_of
from api.routing import KeyRoute
from api.services import Services
from genpulse import ledger
from genpulse.errors import InvalidInput
from genpulse.models import CreditTransactionRow
from genpulse.repositories import balances, usage
from genpulse.repositories.usage import Group
from genpulse.schemas.credits import Balance, CreditChange, Credits, Transaction, TransactionKind
from genpulse.schemas.generations import GenerationId
from genpulse.schemas.pages import Page
from genpulse.schemas.strict import Instant
from genpulse.schemas.usage import AdminDimension, AdminUsage, AdminUsageRow, Dimension, Usage, UsageRow
from genpulse.submissions import fingerprint
from genpulse.tenancy import find_tenant

_JSON_PROBLEMS = openapi.problems(400, 413, 415)
_CSV: openapi.Responses = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}

T = TypeVar("T", bound=str)

router = APIRouter(tags=["credits"], route_class=KeyRoute, responses=openapi.KEY_PROBLEMS)

_DIMENSIONS, _ALL_DIMENSIONS = get_args(Dimension), get_args(AdminDimension)


def _list_of(names: tuple[str, ...]) -> dict[str, Any]:
    """The form of some of the names, separated by commas; none for one sum of all."""
    one = f"({'|'.join(names)})"
    return {"pattern": f"^({one}(,{one}){{0,{len(names) - 1}}})?$"}


_BY = "Dimensions, separated by commas"
By = Annotated[str, Query(description=_BY, examples=["day,model"], json_schema_extra=_list_of(_DIMENSIONS))]
AnyBy = Annotated[str, Query(description=_BY, examples=["tenant,day"], json_schema_extra=_list_of(_ALL_DIMENSIONS))]
Since = Annotated[Instant | None, Query(description="What ended at or after this", examples=["2026-01-01T00:00:00Z"])]
Until = Annotated[Instant | None, Query(description="What ended before this", examples=["2026-02-01T00:00:00Z"])]


@router.get("/v1/credits")
async def get_credits(services: ServicesDep, caller: Reader) -> Credits:
    """The tenant's balance."""
    async with services.database.reading() as session:
        return await ledger.balance_of(session, caller.tenant_id)


@dataclass(frozen=True)
class _Lines:
    """Which lines of a ledger are asked for."""

    cursor: Annotated[Cursor, Depends(cursor_of("txn"))]
    kind: Annotated[TransactionKind | None, Query()] = None
    generation: Annotated[GenerationId | None, Query(description="Those of this generation")] = None

    async def of(self, services: Services, tenant_id: str) -> Page[Transaction]:
        limit = self.cursor.limit
        async with services.database.reading() as session:
            await find_tenant(session, tenant_id)
            rows = await balances.page(
                session,
                tenant_id,
                limit=limit + 1,
                starting_after=self.cursor.starting_after,
                kind=self.kind,
                generation_id=self.generation,
            )
        return Page[Transaction](data=[_transaction(row) for row in rows[:limit]], has_more=len(rows) > limit)


LinesDep = Annotated[_Lines, Depends()]


@router.get("/v1/credits/ledger")
async def list_transactions(services: ServicesDep, caller: Reader, lines: LinesDep) -> Page[Transaction]:
    """Every change of the tenant's balance, newest first, each with the balance after it."""
    return await lines.of(services, caller.tenant_id)


@router.get("/v1/usage", response_model=Usage, responses=_CSV)
async def get_usage(
    *, request: Request, services: ServicesDep, caller: Reader, by: By = "day", since: Since = None, until: Until = None
) -> Any:
    """What the tenant's generations have cost, by `day`, `model`, `provider`, `key`. CSV with `Accept: text/csv`."""
    dimensions = _dimensions(by, _DIMENSIONS)
    async with services.database.reading() as session:
        groups = await usage.grouped(session, dimensions, tenant_id=caller.tenant_id, since=since, until=until)
    _refuse_too_many(groups)
    rows = [UsageRow(**one.by, steps=one.steps, outputs=one.outputs, charged=one.charged) for one in groups]
    if _wants_csv(request):
        return _csv(rows, [*dimensions, "steps", "outputs", "charged"])
    return Usage(object="usage", unit="credit", total=sum(row.charged for row in rows), data=rows)


@router.get("/v1/admin/usage", response_model=AdminUsage, responses=_CSV)
async def get_all_usage(
    *,
    request: Request,
    services: ServicesDep,
    _caller: Operator,
    by: AnyBy = "tenant",
    since: Since = None,
    until: Until = None,
) -> Any:
    """What all tenants have used, also by `tenant`, with what it has cost at the providers, and the margin."""
    dimensions = _dimensions(by, _ALL_DIMENSIONS)
    async with services.database.reading() as session:
        groups = await usage.grouped(session, dimensions, since=since, until=until)
    _refuse_too_many(groups)
    rows = [
        AdminUsageRow(
            **one.by,
            steps=one.steps,
            outputs=one.outputs,
            charged=one.charged,
            cost=one.cost,
            margin=one.charged - one.cost,
        )
        for one in groups
    ]
    if _wants_csv(request):
        return _csv(rows, [*dimensions, "steps", "outputs", "charged", "cost", "margin"])
    charged, cost = sum(row.charged for row in rows), sum(row.cost for row in rows)
    return AdminUsage(object="usage", unit="credit", total=charged, cost=cost, margin=charged - cost, data=rows)


@router.get("/v1/admin/tenants/{tenant_id}/credits", responses=openapi.problems(404))
async def get_tenant_credits(tenant_id: TenantId, services: ServicesDep, _caller: Operator) -> Credits:
    """A tenant's balance."""
    async with services.database.reading() as session:
        return await ledger.balance_of(session, tenant_id)


@router.get("/v1/admin/tenants/{tenant_id}/credits/ledger", responses=openapi.problems(404))
async def list_tenant_transactions(
    tenant_id: TenantId, services: ServicesDep, _caller: Operator, lines: LinesDep
) -> Page[Transaction]:
    """Every change of a tenant's balance, newest first, each with the balance after it."""
    return await lines.of(services, tenant_id)


@router.post(
    "/v1/admin/tenants/{tenant_id}/credits",
    status_code=201,
    responses=_JSON_PROBLEMS | openapi.problems(402, 404),
)
async def change_tenant_credits(
    *,
    tenant_id: TenantId,
    body: CreditChange,
    response: Response,
    services: ServicesDep,
    caller: Operator,
    key: IdempotencyKey,
) -> Transaction:
    """Grant credits, give back what a generation has cost, or correct a balance.

    With an `Idempotency-Key` it happens once, however often it is sent.
    """
    print_of_body = fingerprint(body.model_dump(mode="json", exclude_unset=True)) if key else None
    row, replayed = await ledger.change(
        services.database,
        tenant_id,
        body,
        made_by=caller.name,
        idempotency_key=key,
        fingerprint=print_of_body,
    )
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return _transaction(row)


def _transaction(row: CreditTransactionRow) -> Transaction:
    return Transaction(
        id=row.id,
        object="transaction",
        kind=cast("TransactionKind", row.kind),
        available=row.available,
        held=row.held,
        balance=Balance(available=row.available_after, held=row.held_after),
        generation_id=row.generation_id,
        note=row.note,
        expires_at=row.expires_at,
        created_at=row.created_at,
    )


def _dimensions(by: str, known: tuple[T, ...]) -> list[T]:
    asked = by.split(",") if by else []
    if any(one not in known for one in asked):
        raise InvalidInput(f"`by` takes {', '.join(known)}, separated by commas.", field="by")
    return [one for one in known if one in asked]


def _refuse_too_many(groups: Sequence[Group]) -> None:
    if len(groups) > usage.MOST_GROUPS:
        raise InvalidInput(
            f"That would be more than {usage.MOST_GROUPS:,} groups; ask for fewer dimensions, or less between `since` "
            "and `until`.",
            field="by",
        )


def _wants_csv(request: Request) -> bool:
    return "text/csv" in request.headers.get("accept", "")


def _csv(rows: Sequence[BaseModel], columns: Sequence[str]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([getattr(row, name) for name in columns] for row in rows)
    return Response(
        text.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="usage.csv"'},
    )
