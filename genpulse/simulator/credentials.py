"""The one set of credentials that each simulated cloud accepts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Credentials:
    """In the cloud's own terms: a key, a pair, or both where its products differ."""

    api_key: str | None = None
    access_key: str | None = None
    secret_key: str | None = None


FAL = Credentials(api_key="sim-key:sim-secret")
REPLICATE = Credentials(api_key="r8_sim-key")
