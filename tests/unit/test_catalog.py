"""The catalogue: an account is offered what its credentials reach, and is told what the rest would need."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from genpulse.catalog import Catalog, load_catalog, public_model
from genpulse.catalog.clouds import CLOUDS, cloud_models
from genpulse.errors import UnknownModel
from genpulse.providers.registry import CLIENTS
from genpulse.schemas.states import Operation
from genpulse.settings import ProviderSettings
from genpulse.simulator.clouds import CLOUDS as SIMULATED

KEY = ProviderSettings(api_key=SecretStr("key"))
ACCESS = ProviderSettings(access_key=SecretStr("key"))
PAIR = ProviderSettings(access_key=SecretStr("key"), secret_key=SecretStr("secret"))
BUCKET = PAIR.model_copy(update={"options": {"bucket": SecretStr("mine-1")}})
APPLICATION = ProviderSettings(options={"app_key": SecretStr("key"), "app_secret": SecretStr("secret")})


def at(cloud: str, account: ProviderSettings) -> Catalog:
    return load_catalog({}, {cloud: account})


@pytest.mark.parametrize(
    ("cloud", "account", "reached", "lacking", "what"),
    [
        ("volcengine", KEY, "seedance-2", "jimeng-4", "VOLCENGINE__ACCESS_KEY, GENPULSE_PROVIDERS__VOLCENGINE__SECRET"),
        ("volcengine", PAIR, "jimeng-4", "seedance-2", "VOLCENGINE__API_KEY as"),
        ("volcengine", ACCESS, "seedance-1-lite", "jimeng-4", "VOLCENGINE__SECRET_KEY as"),
        ("tencent", KEY, "hy-video-1.5", "kling-3.0", "TENCENT__ACCESS_KEY"),
        ("tencent", PAIR, "kling-3.0", "ci-super-resolution", "TENCENT__OPTIONS with `bucket` as"),
        ("tencent", BUCKET, "ci-super-resolution", "hy-video-1.5", "TENCENT__API_KEY"),
        ("tencent", PAIR, "kling-3.0", "mps-upscale", "TENCENT__OPTIONS with `bucket` as"),
        ("baidu", KEY, "qwen-image", "vod-vq2", "BAIDU__ACCESS_KEY"),
        (
            "baidu",
            KEY,
            "qwen-image",
            "dehaze",
            "BAIDU__ACCESS_KEY or GENPULSE_PROVIDERS__BAIDU__OPTIONS with `app_key`",
        ),
        ("baidu", PAIR, "dehaze", "qwen-image", "BAIDU__API_KEY as"),
        ("baidu", APPLICATION, "dehaze", "vod-vq2", "BAIDU__ACCESS_KEY"),
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
    needed = {name for model in cloud_models() for names in model.needs for name in names.split("|")}
    assert {need for need in needed if not need.startswith("options.")} <= ProviderSettings.model_fields.keys()
    assert set(CLOUDS) == set(CLIENTS)


@pytest.mark.parametrize(
    ("model", "seconds"),
    [
        ("kling/kling-3.0", 30 * 86400),
        ("bfl/flux-2-pro", 600),
        ("volcengine/jimeng-video-3", 3600),
        ("openai/gpt-image-2", None),
    ],
    ids=["of the whole cloud", "minutes", "of one product", "within the answer"],
)
def test_how_long_a_provider_keeps_what_it_has_made(model: str, seconds: int | None) -> None:
    (spec,) = (spec for spec in cloud_models([model.partition("/")[0]]) if spec.id == model)
    assert public_model(spec, "unknown").result_seconds == seconds
