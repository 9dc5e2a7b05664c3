"""Prefixed, time-ordered, unguessable ids: `gen_01k9…`, sortable by creation as plain text."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from typing import Literal

Prefix = Literal["gen", "ast", "key", "whk", "evt", "ten", "txn", "req"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
_LENGTH = 26
_RANDOM_BITS = 80


def new_id(prefix: Prefix) -> str:
    """Return `prefix_` and 26 characters: 48 bits of Unix milliseconds, then 80 random bits (the ULID layout)."""
    return _id(prefix, time.time_ns() // 1_000_000, secrets.randbits(_RANDOM_BITS))


def first_id(prefix: Prefix, instant: datetime) -> str:
    """What every id made from that instant on is greater than, and every earlier one less."""
    return _id(prefix, int(instant.timestamp() * 1000), 0)


def _id(prefix: Prefix, milliseconds: int, rest: int) -> str:
    number = milliseconds << _RANDOM_BITS | rest
    body = "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
    return f"{prefix}_{body}"


def id_form(prefix: Prefix) -> str:
    """The pattern of ids of that kind."""
    return f"^{prefix}_[{_ALPHABET}]{{{_LENGTH}}}$"


def is_id(prefix: Prefix, text: str) -> bool:
    """Tell whether `text` has the form of an id of that kind; a cheap check before the database is asked."""
    kind, _, body = text.partition("_")
    return kind == prefix and len(body) == _LENGTH and all(c in _ALPHABET for c in body)
