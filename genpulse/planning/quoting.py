"""What planned steps may cost: prices of the catalogue, as they are now, kept with each step."""

from __future__ import annotations

from collections.abc import Sequence

from genpulse.catalog import Catalog
from genpulse.pricing import quote, unpriced_options
from genpulse.schemas.credits import Quote
from genpulse.schemas.plans import PlannedStep, options_for


def quoted(catalog: Catalog, steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """The steps, each with a quote for every model that may do it, except for those that have no price."""
    return [quoted_step(catalog, step) for step in steps]


def quoted_step(catalog: Catalog, step: PlannedStep) -> PlannedStep:
    """One step with its quotes, and what of it cannot be quoted."""
    quotes: dict[str, Quote] = {}
    unknown: list[str] = []
    inputs = {one.model: one.input for one in step.fallbacks} | {step.model: step.input}
    for model_id, given in inputs.items():
        model = catalog.get(model_id)
        spec, price = model.operations[step.operation], model.price_of(step.operation)
        options = options_for(model_id, step.model, step.provider_options)
        unknown += unpriced_options(model, options, catalog.free_options)
        if price is not None:
            quotes[model_id] = quote(price, spec, given, options, markup=catalog.markup)
    return step.model_copy(update={"quotes": quotes, "unpriced_options": list(dict.fromkeys(unknown))})
