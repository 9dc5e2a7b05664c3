"""What goes to Temporal, encrypted: whoever reads its database or its histories sees ids, names and times only.

A payload is encrypted whole by AES-256-GCM, under a key made from the secret of the settings, and says which key that
was. What was written before there was a key, or under an earlier one, can still be read.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from genpulse.settings import TemporalSettings

_ENCODING, _ENCRYPTED = "encoding", b"binary/encrypted"
_KEY_ID = "encryption-key-id"
_NONCE_BYTES = 12
_KEY_ID_BYTES = 8


class Undecodable(RuntimeError):
    """A payload that none of our keys opens; says which key it asks for."""


class PayloadKey:
    """A key made from a secret, and the id that follows from it, which is public."""

    def __init__(self, secret: str) -> None:
        self.id = _derived(secret, "key id")[:_KEY_ID_BYTES].hex()
        self._cipher = AESGCM(_derived(secret, "key"))

    def encrypt(self, payload: Payload) -> Payload:
        nonce, key_id = os.urandom(_NONCE_BYTES), self.id.encode()
        sealed = self._cipher.encrypt(nonce, payload.SerializeToString(), key_id)
        return Payload(metadata={_ENCODING: _ENCRYPTED, _KEY_ID: key_id}, data=nonce + sealed)

    def decrypt(self, payload: Payload) -> Payload:
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            plain = self._cipher.decrypt(nonce, sealed, self.id.encode())
        except (InvalidTag, ValueError) as error:
            raise Undecodable(f"A payload encrypted under the key {self.id} is damaged.") from error
        return Payload.FromString(plain)


class EncryptionCodec(PayloadCodec):
    """Encrypts under `key`, and also reads what was encrypted under the `retired` ones; without a key it only reads."""

    def __init__(self, key: PayloadKey | None, retired: Sequence[PayloadKey] = ()) -> None:
        self._key = key
        self._known = {known.id: known for known in (*retired, key) if known is not None}

    @classmethod
    def of(cls, settings: TemporalSettings) -> Self | None:
        """The codec of these settings; None where they have no key at all."""
        own = settings.encryption_key
        key = PayloadKey(own.get_secret_value()) if own is not None else None
        retired = [PayloadKey(secret.get_secret_value()) for secret in settings.retired_keys]
        return cls(key, retired) if key or retired else None

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [*payloads] if self._key is None else [self._key.encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises Undecodable. What is not encrypted is left as it is."""
        return [self._opened(payload) for payload in payloads]

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get(_ENCODING) != _ENCRYPTED:
            return payload
        key_id = payload.metadata.get(_KEY_ID, b"").decode("ascii", "replace")[: 2 * _KEY_ID_BYTES]
        key = self._known.get(key_id)
        if key is None:
            raise Undecodable(
                f"A payload is encrypted under the key {key_id or 'of another codec'}, which is neither "
                "GENPULSE_TEMPORAL__ENCRYPTION_KEY nor one of GENPULSE_TEMPORAL__RETIRED_KEYS."
            )
        return key.decrypt(payload)


def _derived(secret: str, purpose: str) -> bytes:
    """32 bytes for one purpose; the secret is as long as they are, so no slow derivation is needed."""
    return hmac.digest(secret.encode(), f"genpulse temporal payloads: {purpose}".encode(), hashlib.sha256)
