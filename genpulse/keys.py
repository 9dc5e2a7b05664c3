"""What a key looks like: `gp_live_`, 32 random characters, and a checksum that tells a typo from a key.

The checksum is no secret: whoever has a wrong key learns that it is wrong before any database is asked. It is the
CRC-32 of all that stands before it, which no single wrong character and no two neighbours that have changed places
leave as it is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib

PREFIX = "gp_live_"

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 32  # 190 bits
_CHECK_LENGTH = 6  # 62**6 is more than 2**32
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECK_LENGTH}}}")
_SHOWN_BEFORE, _SHOWN_AFTER = len(PREFIX) + 4, 4


def new_key() -> str:
    """A key that nobody has."""
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Whether it can be a key at all."""
    return _FORM.fullmatch(key) is not None and _checksum(key[:-_CHECK_LENGTH]) == key[-_CHECK_LENGTH:]


def digest(key: str, server_key: bytes) -> str:
    """What is stored of a key: without the server's own key nobody can tell whether a key belongs to it."""
    return hmac.digest(server_key, key.encode(), hashlib.sha256).hex()


def shown_parts(key: str) -> tuple[str, str]:
    """Beginning and end of a key, by which people know it again."""
    return key[:_SHOWN_BEFORE], key[-_SHOWN_AFTER:]


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
