"""The one set of credentials that each simulated cloud accepts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """In the cloud's own terms: a key, a pair, or both where its products differ."""

    api_key: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    webhook_secret: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


BAIDU = Credentials(
    api_key="bce-v3/ALTAK-sim/0123456789abcdef0123456789abcdef01234567",
    access_key="ALTAKsim",
    secret_key="sim-baidu-secret",  # noqa: S106 - of no account
    options={"app_key": "sim-app-key", "app_secret": "sim-app-secret"},
)
BFL = Credentials(api_key="sim-bfl-key", webhook_secret="sim-bfl-webhook-secret")  # noqa: S106 - of no account
COMFYUI = Credentials()  # it asks for none
DASHSCOPE = Credentials(api_key="sk-sim-key")
FAL = Credentials(api_key="sim-key:sim-secret")
GOOGLE = Credentials(
    api_key="AIza-sim-key",
    access_key="ya29.sim-token",
    options={"project": "sim-project", "location": "us-central1"},
)
KLING = Credentials(
    api_key="api-key-kling-sim",
    access_key="sim-access-key",
    secret_key="sim-secret",  # noqa: S106 - of no account
    webhook_secret=f"whsec_{b64encode(b'sim-webhook-secret-of-kling-ai!!').decode()}",
)
LUMA = Credentials(api_key="luma-api-sim-key", access_key="luma-sim-dream-key")
MINIMAX = Credentials(api_key="sk-api-sim-key")
OPENAI = Credentials(api_key="sk-sim-openai-key")
REPLICATE = Credentials(
    api_key="r8_sim-key", webhook_secret=f"whsec_{b64encode(b'sim-webhook-secret-of-replicate!').decode()}"
)
STABILITY = Credentials(api_key="sk-sim-stability-key")
RUNWAY = Credentials(api_key="key_sim-runway")
TENCENT = Credentials(
    api_key="sk-sim-tokenhub-key",
    access_key="AKIDsim",
    secret_key="sim-tencent-secret",  # noqa: S106 - of no account
    options={"region": "ap-guangzhou", "sub_app_id": "1500000001", "bucket": "sim-1250000000"},
)
VIDU = Credentials(api_key="vda_sim-key")
VOLCENGINE = Credentials(api_key="sim-ark-key", access_key="AKLTsim", secret_key="sim-volcengine-secret")  # noqa: S106 - of no account
