"""What GenPulse is told so that it uses the simulated clouds."""

from __future__ import annotations

import json
from collections.abc import Mapping

from genpulse.simulator.clouds import CLOUDS
from genpulse.simulator.core import Cloud

_AN_ACCOUNT = ("BASE_URL", "API_KEY", "ACCESS_KEY", "SECRET_KEY")


def all_variables(address: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables that point every cloud at the simulator, but those of which `given` tells an account."""
    known = {name.upper() for name, value in (given or {}).items() if value}
    missing = [cloud for cloud in CLOUDS if not known.intersection(_name(cloud, what) for what in _AN_ACCOUNT)]
    return {name: value for cloud in missing for name, value in variables(cloud, address).items()}


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
    return {_name(cloud, what): value for what, value in values.items() if value}


def _name(cloud: type[Cloud], what: str) -> str:
    return f"GENPULSE_PROVIDERS__{cloud.name.upper()}__{what}"
