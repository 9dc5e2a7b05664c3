"""Where clouds say that something has happened to a job. It is only a hint: the workflow then asks the cloud itself."""

from __future__ import annotations

import structlog
from fastapi import APIRouter
from temporalio.service import RPCError, RPCStatusCode

from api.deps import GenerationId, ServicesDep
from api.links import Link
from api.openapi import problems
from api.routing import OpenRoute
from genpulse.db import utc_now
from genpulse.errors import DependencyDown
from genpulse.links import callback_path

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/callbacks", tags=["system"], route_class=OpenRoute, responses=problems(403, 422, 503))


@router.post("/{cloud}/{generation_id}", status_code=204)
async def receive_callback(cloud: str, generation_id: GenerationId, services: ServicesDep, link: Link) -> None:
    """For clouds only: the address is signed, and given to one cloud for one generation. The body is not believed."""
    services.signer.verify(callback_path(cloud, generation_id), link.as_query(), now=utc_now())
    try:
        client = await services.temporal()
        await client.get_workflow_handle(generation_id).signal("called_back")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended meanwhile; clouds repeat themselves
            raise DependencyDown("Temporal does not answer; call again.") from error
    except RuntimeError as error:
        raise DependencyDown("Temporal does not answer; call again.") from error
    log.info("callback.received", cloud=cloud, generation_id=generation_id)
