"""What GenPulse is told so that it uses the simulated clouds."""

from __future__ import annotations

import json

from genpulse.simulator.clouds import CLOUDS
from genpulse.simulator.core import Cloud


def all_variables(address: str) -> dict[str, str]:
    """Environment variables that point every cloud at the simulator."""
    return {name: value for cloud in CLOUDS for name, value in variables(cloud, address).items()}


def variables(cloud: type[Cloud], address: str) -> dict[str, str]:
    """Those of one cloud."""
    credentials = cloud.credentials
    values = {
        "BASE_URL": f"{address}/{cloud.name}{cloud.base_path}",
        "API_KEY": credentials.api_key,
        "ACCESS_KEY": credentials.access_key,
        "SECRET_KEY": credentials.secret_key,
        "WEBHOOK_SECRET": credentials.webhook_secret,
        "OPTIONS": json.dumps(dict(credentials.options)) if credentials.options else None,
    }
    return {f"GENPULSE_PROVIDERS__{cloud.name.upper()}__{name}": value for name, value in values.items() if value}
