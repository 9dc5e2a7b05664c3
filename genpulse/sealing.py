"""Secrets that we have to know again, kept so that whoever reads the database alone does not learn them."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from genpulse.errors import SecretUnreadable

_VERSION = "v1"
_NONCE_BYTES = 12


class Sealer:
    """AES-256-GCM under one key. What is sealed for one owner cannot be opened for another."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, secret: str, owner: str) -> str:
        """Text to store."""
        nonce = os.urandom(_NONCE_BYTES)
        return f"{_VERSION}.{b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), owner.encode())).decode()}"

    def open(self, sealed: str, owner: str) -> str:
        """What was sealed. Raises SecretUnreadable: it was under another key, or for another owner, or is damaged."""
        version, _, text = sealed.partition(".")
        try:
            raw = b64decode(text, validate=True)
            if version == _VERSION:
                return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()).decode()
        except (InvalidTag, ValueError):
            pass
        raise SecretUnreadable(
            "The secret was stored under another signing key of the server and cannot be read any more; rotate it."
        )
