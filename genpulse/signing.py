"""Signed links that expire: whoever holds one may read that path until then, without a key.

The signature covers path, expiry and key id, so none of them can be exchanged. Keys have ids so that a new one can take
over while links of the old one are still valid.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from genpulse.errors import Forbidden

_MIN_KEY_BYTES = 32
_HOUR = 3600


@dataclass(frozen=True)
class SigningKey:
    """A secret of 32 bytes or more, and its id, which is public."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < _MIN_KEY_BYTES:
            raise ValueError(f"a signing key needs {_MIN_KEY_BYTES} bytes or more")


class LinkSigner:
    """Signs with `key`, and also accepts the `retired` ones."""

    def __init__(self, key: SigningKey, *, retired: tuple[SigningKey, ...] = ()) -> None:
        self._key = key
        self._keys = {known.id: known for known in (*retired, key)}

    def sign(self, path: str, expires_at: datetime) -> str:
        """Return the query string that makes `path` readable until `expires_at`."""
        expires = str(int(expires_at.timestamp()))
        return urlencode({"expires": expires, "key": self._key.id, "signature": _signature(self._key, path, expires)})

    def verify(self, path: str, query: Mapping[str, str], *, now: datetime) -> None:
        """Raise Forbidden unless the query was signed for exactly this path and has not expired."""
        expires, key = query.get("expires", ""), self._keys.get(query.get("key", ""))
        # Compared as bytes: compare_digest takes only ASCII text, and the query may hold anything.
        given = query.get("signature", "").encode(errors="replace")
        if key is None or not hmac.compare_digest(given, _signature(key, path, expires).encode()):
            raise Forbidden("the link's signature is wrong; ask for the asset again to get a valid link")
        # Only now is `expires` known to be ours, and so to be a number.
        if int(expires) <= now.timestamp():
            raise Forbidden("the link has expired; ask for the asset again to get a new one")


def link_expiry(now: datetime, lifetime: timedelta) -> datetime:
    """Return when a link made now expires: after at least `lifetime`, on the hour.

    Links made within the same hour are equal, so caches recognise them.
    """
    seconds = (now + lifetime).timestamp()
    return datetime.fromtimestamp(-(-seconds // _HOUR) * _HOUR, UTC)


def _signature(key: SigningKey, path: str, expires: str) -> str:
    # As JSON, because no two lists of strings have the same text; joined ones may.
    text = json.dumps([key.id, expires, path])
    return hmac.new(key.secret, text.encode(), hashlib.sha256).hexdigest()
