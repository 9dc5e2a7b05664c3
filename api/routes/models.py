"""What each model does and takes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.deps import Reader, ServicesDep
from api.openapi import KEY_PROBLEMS, problems
from api.routing import KeyRoute
from genpulse.catalog import public_model
from genpulse.errors import NotFound, UnknownModel
from genpulse.schemas.catalog import Model
from genpulse.schemas.pages import MAX_PAGE, Page
from genpulse.schemas.states import Operation

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=KeyRoute, responses=KEY_PROBLEMS)


@router.get("")
async def list_models(
    services: ServicesDep,
    caller: Reader,
    operation: Annotated[Operation | None, Query(description="Only models that do this")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    starting_after: Annotated[str | None, Query(description="Id of the last model of the page before")] = None,
) -> Page[Model]:
    """The models that the router may pick for you, by id. One that is hidden here may still run when it is named."""
    found = [
        model
        for model in services.catalog.all()
        if not model.hidden
        and model.id in caller.models
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
    caller: Reader,
    provider: Annotated[str, Path(examples=["local"])],
    name: Annotated[str, Path(examples=["shapes"])],
) -> Model:
    """One model, with the JSON Schema of its input."""
    model_id = f"{provider}/{name}"
    if model_id not in caller.models:
        raise NotFound(f"There is no model {model_id!r} that you may use. GET /v1/models lists them.")
    try:
        model = services.catalog.get(model_id)
    except UnknownModel as error:
        raise NotFound(error.message) from None
    health = await services.health.now()
    return public_model(model, health.of(model), markup=services.catalog.markup)
