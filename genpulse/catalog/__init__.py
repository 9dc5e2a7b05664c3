"""The one catalogue of models: which there are, what each takes, and which the router picks."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

from genpulse.catalog.clouds import CLOUDS, cloud_models
from genpulse.catalog.engine import PROVIDER, engine_spec
from genpulse.catalog.prices import repriced
from genpulse.catalog.schema import public_model
from genpulse.errors import UnknownModel
from genpulse.pricing import most, terms
from genpulse.schemas.catalog import EngineModel, ModelSpec
from genpulse.schemas.states import Operation
from genpulse.settings import CreditSettings, ProviderSettings

__all__ = ["Catalog", "engine_models", "load_catalog", "public_model"]


class Catalog:
    """Models by id. Of some, `lacking` by id, the account here does not have the credentials: they are not offered.

    `markup` is what is charged on top of the prices, `free_options` are patterns of provider options that change none.
    """

    def __init__(
        self,
        models: Iterable[ModelSpec],
        *,
        lacking: Mapping[str, Iterable[str]] | None = None,
        markup: Decimal = Decimal(0),
        free_options: Sequence[str] = (),
    ) -> None:
        self.markup = markup
        self.free_options = free_options
        self._lacking = dict(lacking or {})
        self._models = {model.id: model for model in models if model.id not in self._lacking}

    def all(self) -> list[ModelSpec]:
        """Every model, hidden ones included, by id."""
        return sorted(self._models.values(), key=lambda model: model.id)

    def get(self, model_id: str, *, field: str = "model", today: date | None = None) -> ModelSpec:
        """The model of that id. Raises UnknownModel, naming near names or the successor of a retired one."""
        model = self._models.get(model_id)
        if model is None:
            if model_id in self._lacking:
                raise _out_of_reach(model_id, self._lacking[model_id], field)
            cloud = model_id.partition("/")[0]
            if cloud in CLOUDS and not any(model.provider == cloud for model in self._models.values()):
                where = f"set GENPULSE_PROVIDERS__{cloud.upper()}__… as docs/providers/{cloud}.md says"
                raise UnknownModel(f"There is no account at {cloud} here; {where}.", field=field)
            shown = [model.id for model in self._models.values() if not model.hidden]
            near = get_close_matches(model_id, shown, n=3, cutoff=0.4)
            hint = f" Did you mean {', '.join(near)}?" if near else " GET /v1/models lists them."
            raise UnknownModel(f"There is no model {model_id!r}.{hint}", field=field)
        if model.retires_at is not None and model.retires_at <= (today or datetime.now(UTC).date()):
            successor = f" Use {model.successor}." if model.successor else ""
            raise UnknownModel(f"{model_id} was retired on {model.retires_at}.{successor}", field=field)
        return model

    def offering(self, operation: Operation, given: Mapping[str, Any] | None = None) -> list[ModelSpec]:
        """Models that the router may pick for an operation, the cheapest for this input first."""
        offers = [model for model in self._models.values() if operation in model.operations and not model.hidden]
        return sorted(offers, key=lambda model: _cost(model, operation, given or {}))


def load_catalog(
    engine: Mapping[str, EngineModel],
    accounts: Mapping[str, ProviderSettings] | Collection[str] = (),
    credit: CreditSettings = CreditSettings(),  # noqa: B008 - immutable
) -> Catalog:
    """The catalogue of this installation: the models of the local engine and of the clouds it has accounts at.

    An account that is given by its name alone reaches everything. Prices of the settings go in the place of the
    catalogue's; raises BadPrice for one that is of no model, or does not fit its model. Of a cloud without an account
    it may be.
    """
    known = accounts if isinstance(accounts, Mapping) else {}
    named = {name.partition("/")[0] for name in credit.prices}
    local = [engine_spec(name, model) for name, model in engine.items()]
    clouds = cloud_models(one for one in CLOUDS if one in accounts or one in named)
    models = [one for one in repriced([*local, *clouds], credit.prices) if one.provider in {PROVIDER, *accounts}]
    lacking = {one.id: known[one.provider].lacks(one.needs) for one in models if one.provider in known}
    lacking = {name: lacks for name, lacks in lacking.items() if lacks}
    return Catalog(models, lacking=lacking, markup=credit.markup, free_options=credit.free_options)


def engine_models(configured: Mapping[str, EngineModel]) -> dict[str, EngineModel]:
    """The local engine's models: those that ship with GenPulse, and those of the settings, which win."""
    shipped = tomllib.loads(files("genpulse.catalog").joinpath("engine.toml").read_text("utf-8"))
    return {name: EngineModel.model_validate(entry) for name, entry in shipped.items()} | dict(configured)


def _out_of_reach(model_id: str, lacking: Iterable[str], field: str) -> UnknownModel:
    cloud = model_id.partition("/")[0]
    what = ", ".join(" or ".join(_setting(cloud, name) for name in names.split("|")) for names in lacking)
    return UnknownModel(
        f"The account at {cloud} does not reach {model_id}; set {what} as docs/providers/{cloud}.md says.", field=field
    )


def _setting(cloud: str, name: str) -> str:
    group, _, option = name.partition(".")
    return f"GENPULSE_PROVIDERS__{cloud.upper()}__{group.upper()}" + (f" with `{option}`" if option else "")


def _cost(model: ModelSpec, operation: Operation, given: Mapping[str, Any]) -> tuple[float, str]:
    price = model.price_of(operation)
    bound = most(terms(price, model.operations[operation], given, {})) if price else float("inf")
    return bound, model.id
