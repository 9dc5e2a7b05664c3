"""Assets: uploads and outputs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.models import AssetRow, metadata
from genpulse.schemas.states import MediaKind

_INTO_ASSET = insert(metadata.tables[AssetRow.__tablename__])


async def add(session: AsyncSession, rows: Sequence[AssetRow]) -> None:
    """Insert new assets."""
    if rows:  # an insert of nothing would insert a row of defaults
        await session.execute(_INTO_ASSET, [row.model_dump() for row in rows])


async def get(session: AsyncSession, tenant_id: str, asset_id: str) -> AssetRow | None:
    """One asset of the tenant."""
    query = select(AssetRow).where(col(AssetRow.id) == asset_id, col(AssetRow.tenant_id) == tenant_id)
    return (await session.execute(query)).scalar_one_or_none()


async def get_many(session: AsyncSession, tenant_id: str, asset_ids: Collection[str]) -> dict[str, AssetRow]:
    """Those of these assets that are the tenant's, by id."""
    query = select(AssetRow).where(col(AssetRow.id).in_(asset_ids), col(AssetRow.tenant_id) == tenant_id)
    return {row.id: row for row in (await session.execute(query)).scalars()}


async def get_any(session: AsyncSession, asset_id: str) -> AssetRow | None:
    """One asset of whatever tenant; for a link whose signature has been verified."""
    return (await session.execute(select(AssetRow).where(col(AssetRow.id) == asset_id))).scalar_one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: str,
    *,
    limit: int,
    starting_after: str | None = None,
    kind: MediaKind | None = None,
) -> Sequence[AssetRow]:
    """The tenant's assets, newest first; at most `limit`."""
    query = select(AssetRow).where(col(AssetRow.tenant_id) == tenant_id)
    if starting_after is not None:
        query = query.where(col(AssetRow.id) < starting_after)
    if kind is not None:
        query = query.where(col(AssetRow.kind) == kind)
    return (await session.execute(query.order_by(col(AssetRow.id).desc()).limit(limit))).scalars().all()


async def outputs_of(session: AsyncSession, generation_ids: Sequence[str]) -> Sequence[AssetRow]:
    """Outputs of all steps of these generations, in order."""
    query = select(AssetRow).where(col(AssetRow.generation_id).in_(generation_ids))
    order = (col(AssetRow.generation_id), col(AssetRow.position), col(AssetRow.output_index))
    return (await session.execute(query.order_by(*order))).scalars().all()


async def output(session: AsyncSession, generation_id: str, position: int) -> Sequence[AssetRow]:
    """Outputs of one step, in order."""
    query = select(AssetRow).where(col(AssetRow.generation_id) == generation_id, col(AssetRow.position) == position)
    return (await session.execute(query.order_by(col(AssetRow.output_index)))).scalars().all()


async def remove(session: AsyncSession, tenant_id: str, asset_id: str) -> bool:
    """Forget an asset. Return whether there was one."""
    query: Any = delete(AssetRow).where(col(AssetRow.id) == asset_id, col(AssetRow.tenant_id) == tenant_id)
    return (await session.execute(query.returning(col(AssetRow.id)))).first() is not None


async def blobs_in_use(session: AsyncSession, sha256s: Sequence[str]) -> set[str]:
    """Those of these contents that some asset, of whatever tenant, still needs."""
    contents = select(col(AssetRow.sha256)).where(col(AssetRow.sha256).in_(sha256s))
    posters = select(col(AssetRow.poster_sha256)).where(col(AssetRow.poster_sha256).in_(sha256s))
    return {row[0] for row in await session.execute(contents.union(posters))}
