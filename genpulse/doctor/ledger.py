"""What must be true of credits. That a line of the ledger sums to zero, the database itself sees to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlmodel import col

from genpulse.doctor.invariant import Invariant
from genpulse.models import CreditAccountRow, CreditLotRow, CreditTransactionRow, GenerationRow, StepRow
from genpulse.schemas.states import FINAL

_A, _T, _L = CreditAccountRow, CreditTransactionRow, CreditLotRow
_SUMS = ("available", "held", "spent", "granted")
_RESOLUTIONS = ("capture", "release")


def of_credits() -> list[Invariant]:
    """All of them, as of now."""
    tenant, generation = col(_A.tenant_id), col(GenerationRow.id)
    is_final = col(GenerationRow.status).in_(FINAL)
    held, charged = _of_steps("held"), _of_steps("charged")
    return [
        Invariant(
            id="C01",
            sentence="Every account is the sum of the lines of its ledger",
            among=_A,
            broken_by=select(tenant).where(or_(*(getattr(_A, name) != _of_lines(name) for name in _SUMS))),
        ),
        Invariant(
            id="C02",
            sentence="The lines of every ledger are numbered without gaps, and the last one has the balance",
            among=_A,
            broken_by=_misnumbered(),
        ),
        Invariant(
            id="C03",
            sentence="No account is below zero unless it is unlimited",
            among=_A,
            broken_by=select(tenant).where(~col(_A.is_unlimited), col(_A.available) < 0),
        ),
        Invariant(
            id="C04",
            sentence="What every account holds is what its unfinished generations may cost",
            among=_A,
            broken_by=select(tenant).where(col(_A.held) != _of_unfinished()),
        ),
        Invariant(
            id="C05",
            sentence="The hold of every generation that has ended is resolved once, and that of no other",
            among=GenerationRow,
            broken_by=select(generation).where(
                or_(
                    and_(is_final, held > 0, _resolutions() != 1),
                    and_(or_(~is_final, held == 0), _resolutions() != 0),
                )
            ),
        ),
        Invariant(
            id="C06",
            sentence="Every generation that has ended was charged what its steps have cost",
            among=GenerationRow,
            where=is_final,
            broken_by=select(generation).where(is_final, charged != _captured()),
        ),
        Invariant(
            id="C07",
            sentence="No step is charged more than is held for it",
            among=StepRow,
            broken_by=select(col(StepRow.generation_id)).where(col(StepRow.charged) > col(StepRow.held)),
        ),
        Invariant(
            id="C08",
            sentence="No more credits of an account are to expire than it has",
            among=_L,
            broken_by=select(tenant).where(~col(_A.is_unlimited), _expiring() > col(_A.available) + col(_A.held)),
        ),
    ]


def _of_lines(name: str) -> ColumnElement[int]:
    lines = select(func.coalesce(func.sum(getattr(_T, name)), 0)).where(col(_T.tenant_id) == col(_A.tenant_id))
    return lines.correlate(_A).scalar_subquery()


def _misnumbered() -> Select[Any]:
    number, tenant = col(_T.number), col(_A.tenant_id)
    last = select(_T).where(col(_T.tenant_id) == tenant, number == col(_A.version)).correlate(_A).subquery()
    balance = select(last.c.available_after + last.c.held_after).scalar_subquery()
    counted = select(func.count()).where(col(_T.tenant_id) == tenant).correlate(_A).scalar_subquery()
    return select(tenant).where(
        or_(counted != col(_A.version), func.coalesce(balance, 0) != col(_A.available) + col(_A.held))
    )


def _of_steps(name: str) -> ColumnElement[int]:
    own = select(func.coalesce(func.sum(getattr(StepRow, name)), 0))
    return own.where(col(StepRow.generation_id) == col(GenerationRow.id)).correlate(GenerationRow).scalar_subquery()


def _of_unfinished() -> ColumnElement[int]:
    query = select(func.coalesce(func.sum(col(StepRow.held)), 0)).join(
        GenerationRow, col(GenerationRow.id) == col(StepRow.generation_id)
    )
    unfinished = col(GenerationRow.status).not_in(FINAL), col(GenerationRow.tenant_id) == col(_A.tenant_id)
    return query.where(*unfinished).correlate(_A).scalar_subquery()


def _resolutions() -> ColumnElement[int]:
    query = select(func.count()).where(col(_T.generation_id) == col(GenerationRow.id), col(_T.kind).in_(_RESOLUTIONS))
    return query.correlate(GenerationRow).scalar_subquery()


def _captured() -> ColumnElement[int]:
    query = select(func.coalesce(func.sum(col(_T.spent)), 0)).where(
        col(_T.generation_id) == col(GenerationRow.id), col(_T.kind) == "capture"
    )
    return query.correlate(GenerationRow).scalar_subquery()


def _expiring() -> ColumnElement[int]:
    query = select(func.coalesce(func.sum(col(_L.remaining)), 0)).where(col(_L.tenant_id) == col(_A.tenant_id))
    return query.correlate(_A).scalar_subquery()
