"""Pairs of keys, and how requests are signed with one."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from pydantic import SecretStr

from genpulse.providers.signatures import BaiduSigner, SignedAuth

Pair = tuple[str, str]


def pair(one: str | None, other: str | None) -> Pair | None:
    """Both, or none."""
    return (one, other) if one and other else None


def signed(keys: Pair) -> SignedAuth:
    signer = BaiduSigner(access_key=keys[0], secret_key=SecretStr(keys[1]))
    return SignedAuth(signer, partial(datetime.now, UTC))
