"""Files: uploads, what was made, and their bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.admission import caller_of, count
from api.bodies import receive_file
from api.deps import AssetId, Cursor, Maker, Reader, ServicesDep, ViewsDep, cursor_of
from api.headers import ByteRange, byte_range, etag_matches
from api.inputs import too_large_for_tenant
from api.links import Link, SignedLink
from api.openapi import KEY_PROBLEMS, problems
from api.routing import KeyRoute, OpenRoute
from api.security_headers import NOTHING
from api.services import Services
from genpulse.db import utc_now
from genpulse.errors import MediaRejected, NotFound, PayloadTooLarge
from genpulse.links import content_path, poster_path
from genpulse.models import AssetRow
from genpulse.repositories import assets
from genpulse.schemas.assets import Asset
from genpulse.schemas.pages import Page
from genpulse.schemas.states import MediaKind
from genpulse.security import Scope

_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "audio/mp4": "m4a",
    "audio/webm": "weba",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
}
_FILE_PROBLEMS = KEY_PROBLEMS | problems(404, 416)
_BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_FILE_ANSWERS = _FILE_PROBLEMS | {
    200: {"description": "The file"} | _BYTES,
    206: {"description": "The part that was asked for"} | _BYTES,
    304: {"description": "It is the one that you have"},
}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}

router = APIRouter(prefix="/v1/assets", tags=["assets"], route_class=KeyRoute, responses=KEY_PROBLEMS)
#: Takes a signed link instead of a key.
file_router = APIRouter(prefix="/v1/assets", tags=["assets"], route_class=OpenRoute)


@router.post("", status_code=201, responses=problems(400, 413, 415), openapi_extra=_FORM)
async def upload_asset(
    request: Request, response: Response, services: ServicesDep, caller: Maker, views: ViewsDep
) -> Asset:
    """Upload an image, a video or sound as the part `file`. Its content decides what it is; its name plays no part."""
    with TemporaryDirectory(prefix="genpulse-upload-") as folder:
        file = Path(folder) / "file"
        await _receive(request, file, caller.limits.input_bytes, services.settings.uploads.max_bytes)
        try:
            row = await services.assets.upload(file, caller.tenant_id)
        except MediaRejected as error:
            error.field = "file"
            raise
    response.headers["Location"] = f"{views.base_url}/v1/assets/{row.id}"
    return views.asset(row)


@router.get("")
async def list_assets(
    services: ServicesDep,
    caller: Reader,
    views: ViewsDep,
    cursor: Annotated[Cursor, Depends(cursor_of("ast"))],
    kind: Annotated[MediaKind | None, Query()] = None,
) -> Page[Asset]:
    """The tenant's uploads and outputs, newest first."""
    async with services.database.reading() as session:
        rows = await assets.page(
            session, caller.tenant_id, limit=cursor.limit + 1, starting_after=cursor.starting_after, kind=kind
        )
    data = [views.asset(row) for row in rows[: cursor.limit]]
    return Page[Asset](data=data, has_more=len(rows) > cursor.limit)


@router.get("/{asset_id}", responses=problems(404))
async def get_asset(asset_id: AssetId, services: ServicesDep, caller: Reader, views: ViewsDep) -> Asset:
    """What a file is, with new links to it."""
    return views.asset(await _own(services, caller.tenant_id, asset_id))


@router.delete("/{asset_id}", status_code=204, response_class=Response, responses=problems(404))
async def delete_asset(asset_id: AssetId, services: ServicesDep, caller: Maker) -> None:
    """Delete a file. A generation that still needs it will fail with `asset_unavailable`."""
    async with services.database.transaction() as session:
        if not await assets.remove(session, caller.tenant_id, asset_id):
            raise NotFound(f"There is no asset {asset_id}.")


@file_router.head("/{asset_id}/content", include_in_schema=False)
@file_router.get("/{asset_id}/content", response_class=Response, responses=_FILE_ANSWERS)
async def get_asset_content(asset_id: AssetId, request: Request, services: ServicesDep, link: Link) -> Response:
    """The file's bytes, for a key or a signed link. Takes `Range`, `If-Range` and `If-None-Match`."""
    row = await _readable(request, services, asset_id, content_path(asset_id), link)
    return await _file(request, services, f"{row.id}.{_EXTENSIONS[row.media_type]}", row.sha256, row.media_type)


@file_router.head("/{asset_id}/poster", include_in_schema=False)
@file_router.get("/{asset_id}/poster", response_class=Response, responses=_FILE_ANSWERS)
async def get_asset_poster(asset_id: AssetId, request: Request, services: ServicesDep, link: Link) -> Response:
    """A still of a video, as JPEG; in everything else like the content."""
    row = await _readable(request, services, asset_id, poster_path(asset_id), link)
    if row.poster_sha256 is None:
        raise NotFound(f"{row.id} has no poster; only a video has.")
    return await _file(request, services, f"{row.id}-poster.jpg", row.poster_sha256, "image/jpeg")


def is_file_path(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is for a file, so that its query may carry a signature."""
    path: str = scope.get("path", "")
    return path.startswith("/v1/assets/") and path.endswith(("/content", "/poster"))


async def _receive(request: Request, file: Path, of_tenant: int | None, of_service: int) -> None:
    if of_tenant is None or of_tenant >= of_service:
        await receive_file(request, "file", file, of_service)
        return
    try:
        await receive_file(request, "file", file, of_tenant)
    except PayloadTooLarge:
        raise too_large_for_tenant(of_tenant, "file") from None


async def _own(services: Services, tenant_id: str, asset_id: str) -> AssetRow:
    async with services.database.reading() as session:
        row = await assets.get(session, tenant_id, asset_id)
    if row is None:
        raise NotFound(f"There is no asset {asset_id}.")
    return row


async def _readable(request: Request, services: Services, asset_id: str, path: str, link: SignedLink) -> AssetRow:
    if not link.signature:
        caller = await caller_of(request)
        await count(request, caller)
        caller.require(Scope.READ)
        return await _own(services, caller.tenant_id, asset_id)
    services.signer.verify(path, link.as_query(), now=utc_now())
    async with services.database.reading() as session:
        row = await assets.get_any(session, asset_id)
    if row is None:
        raise NotFound(f"There is no asset {asset_id} any more.")
    return row


async def _file(request: Request, services: Services, name: str, sha256: str, media_type: str) -> Response:
    etag = f'"{sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",  # an id's content never changes
        "Content-Disposition": f'inline; filename="{name}"',
        # Should a browser ever take a file for a page, it can do nothing with it.
        "Content-Security-Policy": f"{NOTHING}; sandbox",
        # Whoever has the link may show the file in a page of theirs.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if etag_matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    size = await services.storage.size(sha256)
    # A condition that is not met, or that is a date, which we never send, asks for the whole.
    conditional = request.headers.get("if-range", etag) == etag
    part = byte_range(request.headers.get("range"), size) if conditional else None
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    sent = part or ByteRange(0, size)
    headers["Content-Length"] = str(sent.length)
    status = 206 if part is not None else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    chunks = services.storage.read(sha256, sent.start, sent.end)
    first = await anext(chunks)  # an error still becomes a problem; after the first byte it could only cut the answer
    return StreamingResponse(_joined(first, chunks), status_code=status, headers=headers, media_type=media_type)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
