"""Who is calling, and what they may do; and the secrets that sign links, seal what is stored, and digest keys."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import cached_property

from genpulse.errors import Forbidden
from genpulse.schemas.tenants import NO_LIMITS, AllowedModels, Scope, TenantLimits
from genpulse.sealing import Sealer
from genpulse.settings import SecuritySettings
from genpulse.signing import LinkSigner, SigningKey

DEFAULT_TENANT = "default"

__all__ = ["DEFAULT_TENANT", "Caller", "Scope", "administrator", "key_digester", "link_signer", "sealer"]


@dataclass(frozen=True)
class Caller:
    """Whoever sent a valid key: for which tenant, with which scopes, for which models, and within which limits.

    The admin key has no id, and `key_models` limits it as little as a key that names none.
    """

    tenant_id: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    key_models: tuple[str, ...] | None = None
    limits: TenantLimits = NO_LIMITS

    @property
    def name(self) -> str:
        """By which it is known in what it has done: the key's id, or that it was the admin key."""
        return self.key_id or "admin"

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the key has the scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This key has no scope `{scope}`.")

    @cached_property
    def models(self) -> AllowedModels:
        """Those that both the tenant and the key may use."""
        return AllowedModels(self.limits.models, self.key_models)


def administrator(limits: TenantLimits = NO_LIMITS) -> Caller:
    """Whoever has shown the admin key."""
    return Caller(DEFAULT_TENANT, frozenset(Scope), limits=limits)


def link_signer(settings: SecuritySettings) -> LinkSigner:
    """Signs with the signing key; without one, with a key made from the admin key, so that links survive a restart."""
    if settings.signing_key is not None:
        return LinkSigner(SigningKey("1", settings.signing_key.get_secret_value().encode()))
    return LinkSigner(SigningKey("1", _derived(settings, b"genpulse links")))


def sealer(settings: SecuritySettings) -> Sealer:
    """Seals with a key made from the signing key, or else from the admin key, so that it can be opened later."""
    return Sealer(_derived(settings, b"genpulse webhook secrets"))


def key_digester(settings: SecuritySettings) -> bytes:
    """What callers' keys are digested with; made from the same key as the sealer's."""
    return _derived(settings, b"genpulse api keys")


def _derived(settings: SecuritySettings, purpose: bytes) -> bytes:
    root = settings.signing_key or settings.admin_key
    if root is None:
        return secrets.token_bytes(32)  # nobody gets in anyway
    return hmac.digest(root.get_secret_value().encode(), purpose, hashlib.sha256)
