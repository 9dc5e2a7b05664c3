"""What each model does and takes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.deps import MAX_PAGE, Reader, ServicesDep
from api.openapi import problems
from api.routing import KeyRoute
from genpulse.catalog import public_model
from genpulse.errors import NotFound, UnknownModel
from genpulse.schemas.catalog import Model
from genpulse.schemas.pages import Page
from genpulse.schemas.states import Operation

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=KeyRoute, responses=problems(401, 403, 422))


@router.get("")
async def list_models(
    services: ServicesDep,
    _caller: Reader,
    operation: Annotated[Operation | None, Query(description="Only models that do this")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    starting_after: Annotated[str | None, Query(description="Id of the last model of the page before")] = None,
) -> Page[Model]:
    """The models that the router may pick, by id. One that is left out here still runs when it is named."""
    found = [
        model
        for model in services.catalog.all()
        if not model.hidden
        and (operation is None or operation in model.operations)
        and (starting_after is None or model.id > starting_after)
    ]
    health = await services.health.now()
    markup = services.catalog.markup
    shown = [public_model(model, health.of(model), markup=markup) for model in found[:limit]]
    return Page[Model](data=shown, has_more=len(found) > limit)


@router.get("/{provider}/{name}", responses=problems(404))
async def get_model(
    services: ServicesDep,
    _caller: Reader,
    provider: Annotated[str, Path(examples=["local"])],
    name: Annotated[str, Path(examples=["shapes"])],
) -> Model:
    """One model, with the JSON Schema of its input."""
    try:
        model = services.catalog.get(f"{provider}/{name}")
    except UnknownModel as error:
        raise NotFound(error.message) from None
    health = await services.health.now()
    return public_model(model, health.of(model), markup=services.catalog.markup)
