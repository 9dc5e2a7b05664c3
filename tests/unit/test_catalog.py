"""The catalogue: an account is offered what its credentials reach, and is told what the rest would need."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from genpulse.catalog import Catalog, load_catalog
from genpulse.catalog.clouds import CLOUDS, cloud_models
from genpulse.errors import UnknownModel
from genpulse.providers.registry import CLIENTS
from genpulse.schemas.states import Operation
from genpulse.settings import ProviderSettings
from genpulse.simulator.clouds import CLOUDS as SIMULATED

KEY = ProviderSettings(api_key=SecretStr("key"))
ACCESS = ProviderSettings(access_key=SecretStr("key"))
PAIR = ProviderSettings(access_key=SecretStr("key"), secret_key=SecretStr("secret"))
BUCKET = PAIR.model_copy(update={"options": {"bucket": "mine-1"}})


def at(cloud: str, account: ProviderSettings) -> Catalog:
    return load_catalog({}, {cloud: account})


@pytest.mark.parametrize(
    ("cloud", "account", "reached", "lacking", "what"),
    [
        ("volcengine", KEY, "seedance-2", "jimeng-4", "VOLCENGINE__ACCESS_KEY, GENPULSE_PROVIDERS__VOLCENGINE__SECRET"),
        ("volcengine", PAIR, "jimeng-4", "seedance-2", "VOLCENGINE__API_KEY as"),
        ("volcengine", ACCESS, "seedance-1-lite", "jimeng-4", "VOLCENGINE__SECRET_KEY as"),
        ("tencent", KEY, "hy-video-1.5", "kling-3.0", "TENCENT__ACCESS_KEY"),
        ("tencent", PAIR, "kling-3.0", "ci-super-resolution", "TENCENT__OPTIONS with BUCKET as"),
        ("tencent", BUCKET, "ci-super-resolution", "hy-video-1.5", "TENCENT__API_KEY"),
        ("google", ACCESS, "veo-3.1", "gemini-3-pro-image", "GOOGLE__API_KEY"),
        ("luma", KEY, "uni-1", "ray-2", "LUMA__ACCESS_KEY"),
        ("luma", ACCESS, "ray-2", "uni-1", "LUMA__API_KEY"),
    ],
)
def test_what_an_account_cannot_reach_is_not_offered(
    cloud: str, account: ProviderSettings, reached: str, lacking: str, what: str
) -> None:
    catalog = at(cloud, account)
    shown = {model.name for model in catalog.all()}
    assert (reached in shown, lacking in shown) == (True, False)
    assert lacking not in {model.name for one in Operation for model in catalog.offering(one)}
    with pytest.raises(UnknownModel, match=f"does not reach {cloud}/{lacking}; set GENPULSE_PROVIDERS__.*{what}"):
        catalog.get(f"{cloud}/{lacking}")


def test_the_simulated_accounts_reach_everything() -> None:
    accounts = {
        cloud.name: ProviderSettings.model_validate(
            {name: value for name, value in vars(cloud.credentials).items() if value}
        )
        for cloud in SIMULATED
    }
    assert {one.id for one in load_catalog({}, accounts).all()} == {one.id for one in cloud_models()}


def test_needs_are_credentials_that_can_be_set() -> None:
    needed = {need for model in cloud_models() for need in model.needs}
    assert {need for need in needed if not need.startswith("options.")} <= ProviderSettings.model_fields.keys()
    assert set(CLOUDS) == set(CLIENTS)
