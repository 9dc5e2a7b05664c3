"""Signing by the Standard Webhooks specification, and the secrets of it: how they are made, kept and replaced."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from genpulse.errors import SecretUnreadable
from genpulse.models import WebhookRow, WebhookSecretRow
from genpulse.schemas.webhooks import SECRET_PREFIX, SecretRotation, signing_key
from genpulse.sealing import Sealer

_SECRET_BYTES = 32

Keeper = WebhookRow | WebhookSecretRow
"""Whoever has a secret and, for a while, the one before."""


def new_secret() -> str:
    """A fresh secret, in the form in which receivers take it."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(message_id: str, body: bytes, keys: Sequence[str], *, at: datetime) -> dict[str, str]:
    """The headers of one try: the id is that of the event, the time that of the try, and every secret signs both."""
    timestamp = str(int(at.timestamp()))
    text = f"{message_id}.{timestamp}.".encode() + body
    entries = (b64encode(hmac.digest(signing_key(secret), text, "sha256")).decode() for secret in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{entry}" for entry in entries),
    }


def active_secrets(keeper: Keeper, sealer: Sealer, *, at: datetime) -> list[str]:
    """Those that sign at that instant, the newest first. Raises SecretUnreadable where that is none of ours."""
    assert keeper.secret is not None
    active = [sealer.open(keeper.secret, keeper.tenant_id)]
    if keeper.previous_secret is not None and keeper.previous_until is not None and at < keeper.previous_until:
        active.append(sealer.open(keeper.previous_secret, keeper.tenant_id))
    return active


def rotated(keeper: Keeper, sealer: Sealer, wanted: SecretRotation, *, at: datetime) -> tuple[str, dict[str, Any]]:
    """The new secret, and what to store of it and of the former one, which signs until the overlap is over."""
    secret = wanted.secret.get_secret_value() if wanted.secret else new_secret()
    values: dict[str, Any] = {
        "secret": sealer.seal(secret, keeper.tenant_id),
        "previous_secret": None,
        "previous_until": None,
    }
    if wanted.overlap_seconds and _is_readable(keeper, sealer):
        until = at + timedelta(seconds=wanted.overlap_seconds)
        values |= {"previous_secret": keeper.secret, "previous_until": until}
    return secret, values


def _is_readable(keeper: Keeper, sealer: Sealer) -> bool:
    assert keeper.secret is not None
    try:
        sealer.open(keeper.secret, keeper.tenant_id)
    except SecretUnreadable:
        return False
    return True
