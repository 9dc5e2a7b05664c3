"""Media inputs of a submission: files within it are stored, and stored files are checked before a step needs them."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from api.services import Services
from genpulse.adapters import needs_fitting
from genpulse.errors import AdaptionRequired, InvalidInput, MediaRejected, PayloadTooLarge
from genpulse.models import AssetRow
from genpulse.planning import plan_generation
from genpulse.repositories import assets
from genpulse.schemas.assets import MediaInfo
from genpulse.schemas.catalog import Size
from genpulse.schemas.generations import AssetRef, DataRef, GenerationCreate, GenerationInput
from genpulse.schemas.plans import Plan, PlannedStep
from genpulse.schemas.states import MEDIA_FIELDS
from genpulse.security import Caller


@dataclass(frozen=True)
class _Media:
    """One media input: in which step, under which name, and, in a list, at which place."""

    step_id: str
    path: str
    holder: GenerationInput
    name: str
    index: int | None
    value: object

    def replace(self, reference: AssetRef) -> None:
        if self.index is None:
            setattr(self.holder, self.name, reference)
        else:
            getattr(self.holder, self.name)[self.index] = reference


async def planned(services: Services, caller: Caller, request: GenerationCreate, *, stores: bool = True) -> Plan:
    """Plan a request whose media inputs are in order; `data:` inputs become stored assets, in the request itself.

    So neither the database nor a workflow's history ever holds bytes. What is only estimated is not stored. Raises an
    InvalidRequest that names the field, Forbidden for a model that the caller may not use, PayloadTooLarge for a file
    that is larger than its tenant may send.
    """
    routed = any(step.model is None for step in request.as_steps())
    down = await services.health.down() if routed else frozenset[str]()
    plan = plan_generation(request, services.catalog, down=down, allowed=caller.models)
    media = list(_media_of(request))
    if not media:
        return plan
    inline = [one for one in media if stores and isinstance(one.value, DataRef)]
    for one in inline:
        row = await _store(services, caller, one)
        _check_kind(one, row)
        one.replace(AssetRef(asset=row.id))
    await _check_assets(services, caller.tenant_id, request, plan)
    return plan_generation(request, services.catalog, down=down, allowed=caller.models) if inline else plan


def _media_of(request: GenerationCreate) -> Iterator[_Media]:
    for position, step in enumerate(request.as_steps()):
        path = f"steps.{position}.input" if request.steps is not None else "input"
        for name in MEDIA_FIELDS:
            value = getattr(step.input, name)
            if isinstance(value, list):
                for index, one in enumerate(value):
                    yield _Media(step.id, f"{path}.{name}.{index}", step.input, name, index, one)
            elif value is not None:
                yield _Media(step.id, f"{path}.{name}", step.input, name, None, value)


async def _store(services: Services, caller: Caller, media: _Media) -> AssetRow:
    assert isinstance(media.value, DataRef)
    field = f"{media.path}.data"
    with TemporaryDirectory(prefix="genpulse-inline-") as folder:
        file = Path(folder) / "file"
        size = await asyncio.to_thread(_decode, media.value.data, file, field)
        limit = caller.limits.input_bytes
        if limit is not None and size > limit:
            raise too_large_for_tenant(limit, field)
        try:
            return await services.assets.upload(file, caller.tenant_id)
        except MediaRejected as error:
            error.field = field
            raise


def too_large_for_tenant(limit: int, field: str) -> PayloadTooLarge:
    """A file that is larger than the tenant may send, whatever the service takes."""
    return PayloadTooLarge(
        f"Your account may send files of at most {limit:,} bytes (`input_bytes`).",
        field=field,
        max_bytes=limit,
        limit="input_bytes",
    )


def _decode(data: str, to: Path, field: str) -> int:
    try:
        return to.write_bytes(base64.b64decode(data.partition(",")[2], validate=True))
    except binascii.Error as error:
        raise InvalidInput(f"`{field}` is not valid base64: {error}.", field=field) from None


async def _check_assets(services: Services, tenant_id: str, request: GenerationCreate, plan: Plan) -> None:
    referring = [one for one in _media_of(request) if isinstance(one.value, AssetRef)]
    if not referring:
        return
    async with services.database.reading() as session:
        known = await assets.get_many(session, tenant_id, {_asset_id(one) for one in referring})
    for one in referring:
        row = known.get(_asset_id(one))
        if row is None:
            raise InvalidInput(f"There is no asset {_asset_id(one)}; upload the file again.", field=f"{one.path}.asset")
        _check_kind(one, row)
        if not request.adapt:
            step = next(step for step in plan.steps if step.id == one.step_id)
            _check_fit(services, one, row, step)


def _asset_id(media: _Media) -> str:
    assert isinstance(media.value, AssetRef)
    return media.value.asset


def _check_kind(media: _Media, row: AssetRow) -> None:
    needed = MEDIA_FIELDS[media.name]
    if row.kind != needed:
        raise InvalidInput(f"`{media.name}` takes {needed}, but this is {row.media_type}.", field=media.path)


def _check_fit(services: Services, media: _Media, row: AssetRow, step: PlannedStep) -> None:
    """Without adaption an image has to be what the model accepts; from what is known of it, that shows here."""
    rules = services.catalog.get(step.model).operations[step.operation].images.get(media.name)
    if rules is None:
        return
    target = Size(step.input["width"], step.input["height"]) if {"width", "height"} <= step.input.keys() else None
    info = MediaInfo.model_validate(row, from_attributes=True)
    if why := needs_fitting(info, row.bytes, rules, target=target):
        raise AdaptionRequired(f"`adapt` is off, and `{media.name}` does not fit: {why}.", field=media.path)
