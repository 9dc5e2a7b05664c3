"""From a request to the steps that will run: models chosen, inputs checked, gaps between models filled by adapters.

Pure: it reads the catalogue and the request, nothing else, so an estimate and a submission cannot differ.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from genpulse.catalog import Catalog
from genpulse.errors import AdaptionRequired, Forbidden, InvalidInput
from genpulse.planning.fitting import fit
from genpulse.planning.inputs import check_input, missing_media
from genpulse.planning.quoting import quoted
from genpulse.planning.sizing import SIZE_FIELDS, asks_pixels, in_words, nearest_size, wanted_size, without_size
from genpulse.schemas.catalog import ModelSpec, OperationSpec, Size
from genpulse.schemas.generations import Adaption, GenerationCreate, StepCreate, media_references
from genpulse.schemas.plans import Fallback, Plan, PlannedStep
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.schemas.tenants import ALL_MODELS

_UPSCALE = {MediaKind.IMAGE: Operation.IMAGE_UPSCALE, MediaKind.VIDEO: Operation.VIDEO_UPSCALE}
_MAX_UPSCALES = 2  # two passes of a fourfold upscaler; beyond that nothing real is added
_PASSED_TO_STILL = ("prompt", "negative_prompt", "seed")
_NEXT_MODELS = 3  # behind one that the router chose

__all__ = ["plan_generation", "plan_takeover"]


def plan_generation(
    request: GenerationCreate, catalog: Catalog, *, down: Container[str] = (), allowed: Container[str] = ALL_MODELS
) -> Plan:
    """Plan a request; the router leaves out models of providers that are `down`, as long as there are others.

    Nothing but `allowed` models is planned with. Raises UnknownModel, InvalidInput, Forbidden for a model that is not
    allowed, or AdaptionRequired when `adapt` is off, naming the field.
    """
    chain = request.steps is not None
    planner = _Planner(catalog, adapt=request.adapt, down=down, allowed=allowed)
    for index, step in enumerate(request.as_steps()):
        planner.add(step, f"steps.{index}" if chain else "")
    return Plan(steps=quoted(catalog, planner.steps), adaptions=planner.adaptions)


def plan_takeover(
    catalog: Catalog,
    step: PlannedStep,
    model_id: str,
    *,
    adapt: bool,
    path: str,
    allowed: Container[str] = ALL_MODELS,
) -> tuple[Fallback, list[Adaption]]:
    """Another model for a step that was planned already, and what it does not do as asked.

    Raises UnknownModel, Forbidden, or InvalidInput where it cannot take the step.
    """
    planner = _Planner(catalog, adapt=adapt, allowed=allowed)
    model = planner.named(model_id, path)
    return planner.fitted_fallback(step.id, model, step.operation, step.input, step.input, path=path), planner.adaptions


@dataclass
class _Planner:
    catalog: Catalog
    adapt: bool
    down: Container[str] = ()
    allowed: Container[str] = ALL_MODELS
    steps: list[PlannedStep] = field(default_factory=list)
    adaptions: list[Adaption] = field(default_factory=list)
    #: What a step that the caller named came out as: an upscale added behind it takes its place.
    final: dict[str, str] = field(default_factory=dict)

    def add(self, step: StepCreate, path: str) -> None:
        """Plan one step of the request, with whatever has to stand before and behind it."""
        where = _Path(path)
        if step.id in self.final or any(planned.id == step.id for planned in self.steps):
            raise InvalidInput(f"Two steps are named {step.id!r}.", field=where / "id")
        model, operation = self._choose(step, where)
        given = step.input.given()
        if step.provider_options and model.provider == "local":
            raise InvalidInput("The local engine takes no provider options.", field=where / "provider_options")
        if operation not in model.operations:
            given = self._still_before(step, model, given, where)
            operation = Operation.IMAGE_TO_VIDEO
        self._connect(given, model, operation, where)
        asked = dict(given)
        size = self._settle_size(given, model, operation, where)
        check_input(given, model, operation, where / "input")
        fallbacks = [
            self.fitted_fallback(step.id, self.named(one, path), operation, asked, given, path=path)
            for one, path in ((one, where / f"fallbacks.{index}") for index, one in enumerate(step.fallbacks))
        ]
        if step.model is None and not fallbacks:
            fallbacks = self._next_models(model, operation, asked, given)
        self._append(step.id, operation, model, given, step.provider_options, fallbacks=fallbacks)
        self.final[step.id] = step.id
        if size is not None:
            self._upscale_behind(step.id, model, size, where)

    # -- which model ---------------------------------------------------------------------------------------------

    def named(self, model_id: str, path: str) -> ModelSpec:
        """A model that the caller names."""
        if model_id not in self.allowed:
            raise Forbidden(f"You may not use {model_id}; GET /v1/models lists what you may.", field=path)
        return self.catalog.get(model_id, field=path)

    def _offering(self, operation: Operation, given: dict[str, Any] | None = None) -> list[ModelSpec]:
        """What the router may pick, the cheapest first."""
        return [model for model in self.catalog.offering(operation, given) if model.id in self.allowed]

    def _choose(self, step: StepCreate, where: _Path) -> tuple[ModelSpec, Operation]:
        if step.model is None:
            return self._route(step, where)
        model = self.named(step.model, where / "model")
        if step.operation is None:
            if len(model.operations) > 1:
                raise InvalidInput(
                    f"{model.id} has several operations; say which: {', '.join(model.operations)}.",
                    field=where / "operation",
                )
            return model, next(iter(model.operations))
        if step.operation not in model.operations and not _needs_still(model, step.operation):
            raise InvalidInput(
                f"{model.id} does not do {step.operation}; it does {', '.join(model.operations)}.",
                field=where / "operation",
            )
        return model, step.operation

    def fitted_fallback(
        self,
        step_id: str,
        model: ModelSpec,
        operation: Operation,
        asked: dict[str, Any],
        settled: dict[str, Any],
        *,
        path: str,
    ) -> Fallback:
        """A model that was named to take over: with what comes closest to what was asked for, unless `adapt` is off."""
        changes: list[str] = []
        if self.adapt and operation in model.operations:
            asked, changes = fit(asked, model, operation)
        taking_over = self.fallback(model, operation, asked, settled, path)
        if changes:
            message = f"If {model.id} takes over, then {', '.join(changes)}."
            self.adaptions.append(Adaption(kind="fallback-fitted", step=step_id, added_step=None, message=message))
        return taking_over

    def fallback(
        self, model: ModelSpec, operation: Operation, asked: dict[str, Any], settled: dict[str, Any], path: str
    ) -> Fallback:
        """A model that can take over, with the input as it takes it: what was asked for, within its own limits.

        What stands behind the step counts on the `settled` size where the step makes another than was asked for.
        """
        if operation not in model.operations:
            raise InvalidInput(
                f"{model.id} cannot take over: it does {', '.join(model.operations)}, not {operation}.", field=path
            )
        spec, given = model.operations[operation], dict(asked)
        try:
            if spec.named_sizes and asks_pixels(asked):
                given = _named(asked, settled, spec)
            elif spec.sizes is not None and (wanted := wanted_size(asked, spec.sizes, "input")) is not None:
                size = wanted if spec.sizes.allows(wanted) else Size(settled.get("width", 0), settled.get("height", 0))
                if not spec.sizes.allows(size):
                    raise InvalidInput(f"it does not make {_text(wanted)}.", field=path)
                given = without_size(given) | {"width": size.width, "height": size.height}
            check_input(given, model, operation, "input")
        except InvalidInput as error:
            raise InvalidInput(f"{model.id} cannot take over: {error.message}", field=path) from error
        return Fallback(model=model.id, queue=model.queue, input=given)

    def _route(self, step: StepCreate, where: _Path) -> tuple[ModelSpec, Operation]:
        if step.operation is None:
            raise InvalidInput("Give a `model` or an `operation`.", field=where / "operation")
        if step.provider_options:
            raise InvalidInput(
                "Give a `model` too: provider options are in the terms of one provider.",
                field=where / "provider_options",
            )
        given = step.input.given()
        offers = self._offering(step.operation, given)
        if not offers and step.operation is Operation.TEXT_TO_VIDEO:
            offers = self._offering(Operation.IMAGE_TO_VIDEO, given)
        if not offers and self.catalog.offering(step.operation):
            raise Forbidden(f"You may use no model that does {step.operation}.", field=where / "operation")
        if not offers:
            raise InvalidInput(f"No model here does {step.operation}.", field=where / "operation")
        fitting = [model for model in offers if _takes_all(model, step)] or offers
        healthy = [model for model in fitting if model.provider not in self.down]
        return (healthy or fitting)[0], step.operation

    def _next_models(
        self, chosen: ModelSpec, operation: Operation, asked: dict[str, Any], settled: dict[str, Any]
    ) -> list[Fallback]:
        """What the router would have taken instead, each of another provider than those before it."""
        seen, found = {chosen.provider}, list[Fallback]()
        for model in self._offering(operation, asked):
            if model.provider in seen or model.provider in self.down or len(found) == _NEXT_MODELS:
                continue
            if model.price_of(operation) is None and chosen.price_of(operation) is not None:
                break  # the rest has none either, and what it would cost could not be held
            with suppress(InvalidInput):
                found.append(self.fallback(model, operation, asked, settled, ""))
                seen.add(model.provider)
        return found

    # -- what stands before and behind ----------------------------------------------------------------------------

    def _still_before(self, step: StepCreate, model: ModelSpec, given: dict[str, Any], where: _Path) -> dict[str, Any]:
        """Put a text-to-image step before a model that only sets images in motion."""
        if "prompt" not in given:
            raise InvalidInput("text-to-video needs `prompt`: what to make.", field=where / "input.prompt")
        maker = self._offering(Operation.TEXT_TO_IMAGE)
        if not maker:
            raise InvalidInput(
                f"{model.id} starts from an image, and no model that you may use makes one.", field=where / "model"
            )
        takes = maker[0].operations[Operation.TEXT_TO_IMAGE].fields
        still_input = {name: given[name] for name in _PASSED_TO_STILL if name in given and name in takes}
        added = self._free_id(f"{step.id}-image")
        self._adapt(
            Adaption(
                kind="text-to-image-before",
                step=step.id,
                added_step=added,
                message=f"{model.id} starts from an image, so {maker[0].id} makes one from the prompt first.",
            ),
            where / "model",
        )
        check_input(still_input, maker[0], Operation.TEXT_TO_IMAGE, where / "input")
        self._append(added, Operation.TEXT_TO_IMAGE, maker[0], still_input, {})
        return given | {"image": {"step": added, "output": 0}}

    def _settle_size(self, given: dict[str, Any], model: ModelSpec, operation: Operation, where: _Path) -> Size | None:
        """Turn the size fields into a size that the model makes; return the size still to be reached, if any."""
        spec = model.operations[operation]
        if spec.named_sizes and asks_pixels(given):
            words = in_words(given, spec.named_sizes, path=where / "input")
            for name in SIZE_FIELDS:
                given.pop(name, None)
            given |= words
        rules = spec.sizes
        if rules is None:
            return None
        asked = next((name for name in SIZE_FIELDS if name in given), "width")
        wanted = wanted_size(given, rules, where / "input")
        if wanted is None:
            return None
        made = nearest_size(wanted, rules, path=where / f"input.{asked}")
        for name in SIZE_FIELDS:
            given.pop(name, None)
        given |= {"width": made.width, "height": made.height}
        return wanted if made != wanted else None

    def _upscale_behind(self, step_id: str, model: ModelSpec, wanted: Size, where: _Path) -> None:
        """Add upscale steps behind the step just planned until the wanted size is reached."""
        made = self.steps[-1]
        if made.input.get("count", 1) > 1:
            raise InvalidInput(
                f"Upscaling to {_text(wanted)} works on one output; ask for `count` 1.", field=where / "input.count"
            )
        upscale = _UPSCALE[_kind_of(self._makes(made))]
        offers = self._offering(upscale)
        upscaler = next((one for one in offers if "scale" in one.operations[upscale].fields), None)
        if upscaler is None:
            raise InvalidInput(f"{model.id} does not make {_text(wanted)}.", field=where / "input.width")
        most = upscaler.operations[upscale].fields["scale"].maximum or 1.0
        for _ in range(_MAX_UPSCALES):
            target = _toward(_size_of(self.steps[-1]), wanted, most)
            why = f"{model.id} cannot make the size asked for"
            self._add_upscale(step_id, upscaler, target, why, where)
            if target == wanted:
                return
        reached = _size_of(self.steps[-1])
        raise InvalidInput(
            f"{model.id} makes {_text(_size_of(made))}, which can be upscaled to at most {_text(reached)}.",
            field=where / "input.width",
        )

    def _add_upscale(self, step_id: str, upscaler: ModelSpec, target: Size, why: str, where: _Path) -> None:
        before = self.steps[-1]
        kind = _kind_of(self._makes(before))
        added = self._free_id(f"{step_id}-upscale")
        message = f"{why}, so {upscaler.id} enlarges {_text(_size_of(before))} to {_text(target)}."
        self._adapt(
            Adaption(kind="upscale-after", step=step_id, added_step=added, message=message), where / "input.width"
        )
        given = {kind.value: {"step": before.id, "output": 0}, "width": target.width, "height": target.height}
        self._append(added, _UPSCALE[kind], upscaler, given, {})
        self.final[step_id] = added

    def _adapt(self, adaption: Adaption, path: str) -> None:
        if not self.adapt:
            raise AdaptionRequired(
                f"`adapt` is off, and this would have been added: {adaption.message}",
                field=path,
                adaption=adaption.model_dump(mode="json"),
            )
        self.adaptions.append(adaption)

    # -- how steps are joined -------------------------------------------------------------------------------------

    def _connect(self, given: dict[str, Any], model: ModelSpec, operation: Operation, where: _Path) -> None:
        """Point references at the steps that really deliver, and fill an unmet media input from the step before."""
        for name in missing_media(given, model, operation):
            if self.steps and self._makes(self.steps[-1]) in (None, model.operations[operation].fields[name].type):
                given[name] = {"step": self.steps[-1].id, "output": 0}
        for name, reference in media_references(given):
            if "step" in reference:
                self._redirect(reference, name, where)

    def _redirect(self, reference: dict[str, Any], name: str, where: _Path) -> None:
        path = where / f"input.{name}.step"
        source_id = self.final.get(reference["step"], reference["step"])
        source = next((step for step in self.steps if step.id == source_id), None)
        if source is None:
            known = ", ".join(self.final) or "none"
            raise InvalidInput(f"No earlier step is named {reference['step']!r}; earlier ones: {known}.", field=path)
        kind = self._makes(source)
        if kind is None:  # which files a workflow makes is known when it has
            reference["step"] = source.id
            return
        needed = MEDIA_FIELDS[name.partition(".")[0]]
        if needed is not kind:
            raise InvalidInput(f"Step {source.id!r} makes {kind}, but `{name}` takes {needed}.", field=path)
        outputs = source.input.get("count", 1)
        if reference["output"] >= outputs:
            raise InvalidInput(
                f"Step {source.id!r} has {outputs} output(s), counted from 0.", field=where / f"input.{name}.output"
            )
        reference["step"] = source.id

    def _makes(self, step: PlannedStep) -> MediaKind | None:
        """What comes out of it; None where only the run will tell."""
        return self.catalog.get(step.model).operations[step.operation].output

    def _free_id(self, wanted: str) -> str:
        taken = {step.id for step in self.steps}
        numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
        return next(name for name in (wanted, *numbered) if name not in taken)

    def _append(
        self,
        step_id: str,
        operation: Operation,
        model: ModelSpec,
        given: dict[str, Any],
        options: dict[str, Any],
        *,
        fallbacks: Sequence[Fallback] = (),
    ) -> None:
        self.steps.append(
            PlannedStep(
                id=step_id,
                operation=operation,
                model=model.id,
                queue=model.queue,
                input=given,
                provider_options=options,
                fallbacks=list(fallbacks),
            )
        )


class _Path(str):
    """Where a step stands in the request, for errors: `steps.1` or, for a single call, nothing."""

    def __truediv__(self, rest: str) -> str:
        return f"{self}.{rest}" if self else rest


def _needs_still(model: ModelSpec, operation: Operation) -> bool:
    return operation is Operation.TEXT_TO_VIDEO and Operation.IMAGE_TO_VIDEO in model.operations


def _takes_all(model: ModelSpec, step: StepCreate) -> bool:
    operation = step.operation if step.operation in model.operations else Operation.IMAGE_TO_VIDEO
    assert operation is not None
    return all(name in model.operations[operation].fields for name in step.input.given())


def _named(asked: dict[str, Any], settled: dict[str, Any], spec: OperationSpec) -> dict[str, Any]:
    """What was asked for in words, or else what is enlarged afterwards."""
    try:
        return in_words(asked, spec.named_sizes, path="input")
    except InvalidInput:
        if not asks_pixels(settled):
            raise
    sides = {name: settled[name] for name in ("width", "height") if name in settled}
    return in_words(without_size(asked) | sides, spec.named_sizes, path="input")


def _kind_of(made: MediaKind | None) -> MediaKind:
    assert made is not None, "what has a size to be reached has a kind"
    return made


def _size_of(step: PlannedStep) -> Size:
    return Size(step.input["width"], step.input["height"])


def _text(size: Size) -> str:
    return f"{size.width}x{size.height}"


def _toward(reached: Size, wanted: Size, most: float) -> Size:
    factor = max(wanted.width / reached.width, wanted.height / reached.height)
    if factor <= most:
        return wanted
    return Size(int(reached.width * most), int(reached.height * most))
