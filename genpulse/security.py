"""Who is calling: keys, and what they allow; and the secrets that sign links and seal what is stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum

from genpulse.errors import Forbidden, Unauthenticated
from genpulse.sealing import Sealer
from genpulse.settings import SecuritySettings
from genpulse.signing import LinkSigner, SigningKey

DEFAULT_TENANT = "default"


class Scope(StrEnum):
    """What a key may do: make generations and assets, read them, change the tenant's own set-up, run the service."""

    GENERATE = "generate"
    READ = "read"
    MANAGE = "manage"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Whoever sent a valid key: for which tenant, and with which scopes."""

    tenant_id: str
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the key has the scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This key has no scope `{scope}`.")


_ADMIN = Caller(DEFAULT_TENANT, frozenset(Scope))


def administrator() -> Caller:
    """Whoever has shown the admin key."""
    return _ADMIN


class KeyRing:
    """Knows the valid keys: for now the admin key of the settings alone."""

    def __init__(self, settings: SecuritySettings) -> None:
        self._admin_key = settings.admin_key.get_secret_value().encode() if settings.admin_key else None

    def identify(self, secret: str | None) -> Caller:
        """Whose key it is. Raises Unauthenticated for none or a wrong one; how long that takes tells nothing."""
        if secret is None:
            raise Unauthenticated("Send your key in the header `Authorization: Bearer gp_…`.")
        if self._admin_key is None or not hmac.compare_digest(secret.encode(), self._admin_key):
            raise Unauthenticated("This key is not valid.")
        return _ADMIN


def link_signer(settings: SecuritySettings) -> LinkSigner:
    """Signs with the signing key; without one, with a key made from the admin key, so that links survive a restart."""
    if settings.signing_key is not None:
        return LinkSigner(SigningKey("1", settings.signing_key.get_secret_value().encode()))
    return LinkSigner(SigningKey("1", _derived(settings, b"genpulse links")))


def sealer(settings: SecuritySettings) -> Sealer:
    """Seals with a key made from the signing key, or else from the admin key, so that it can be opened later."""
    return Sealer(_derived(settings, b"genpulse webhook secrets"))


def _derived(settings: SecuritySettings, purpose: bytes) -> bytes:
    root = settings.signing_key or settings.admin_key
    if root is None:
        return secrets.token_bytes(32)  # nobody gets in anyway
    return hmac.digest(root.get_secret_value().encode(), purpose, hashlib.sha256)
