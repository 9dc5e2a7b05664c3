"""Where clouds say that something has happened to a job. It is only a hint: the workflow then asks the cloud itself."""

from __future__ import annotations

import json

import structlog
from fastapi import APIRouter, Request, Response
from temporalio.service import RPCError, RPCStatusCode

from api.deps import GenerationId, ServicesDep
from api.links import Link
from api.openapi import problems
from api.routing import OpenRoute
from api.services import Services
from genpulse.db import utc_now
from genpulse.errors import DependencyDown, PayloadTooLarge
from genpulse.failpoints import Failpoint
from genpulse.links import callback_path

_VERIFYING = Failpoint("callbacks.verify")
_MOST_BYTES = 4 * 2**20  # some clouds repeat the job with its inputs

log = structlog.get_logger(__name__)
router = APIRouter(
    prefix="/v1/callbacks", tags=["system"], route_class=OpenRoute, responses=problems(403, 413, 422, 503)
)


@router.post(
    "/{cloud}/{generation_id}",
    status_code=204,
    responses={200: {"description": "The challenge, repeated", "content": {"application/json": {}}}},
)
async def receive_callback(
    cloud: str, generation_id: GenerationId, request: Request, services: ServicesDep, link: Link
) -> Response:
    """For clouds only: the address is signed, and given to one cloud for one generation. The body is not believed.

    A cloud that first wants to know whether somebody is here posts a `challenge`, and gets it back.
    """
    services.signer.verify(callback_path(cloud, generation_id), link.as_query(), now=utc_now())
    body = await _body(request)
    if (challenge := _challenge(body)) is not None:
        return Response(json.dumps({"challenge": challenge}), media_type="application/json")
    async with _VERIFYING:
        await services.accounts.verify_callback(cloud, request.headers, body, now=utc_now())
    await _wake(services, generation_id)
    log.info("callback.received", cloud=cloud, generation_id=generation_id)
    return Response(status_code=204)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise PayloadTooLarge(f"A callback has at most {_MOST_BYTES:,} bytes.")
    return bytes(body)


def _challenge(body: bytes) -> str | None:
    try:
        told = json.loads(body)
    except ValueError:
        return None
    challenge = told.get("challenge") if isinstance(told, dict) and len(told) == 1 else None
    return challenge if isinstance(challenge, str) else None


@Failpoint("callbacks.wake")
async def _wake(services: Services, generation_id: str) -> None:
    try:
        client = await services.temporal()
        await client.get_workflow_handle(generation_id).signal("called_back")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended meanwhile; clouds repeat themselves
            raise DependencyDown("Temporal does not answer; call again.") from error
    except RuntimeError as error:
        raise DependencyDown("Temporal does not answer; call again.") from error
