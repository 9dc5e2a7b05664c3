"""The query of an address that works without a key, because it carries a signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query


@dataclass(frozen=True)
class SignedLink:
    """What the signer put behind the path."""

    expires: Annotated[str, Query(description="From a signed link")] = ""
    key: Annotated[str, Query(description="From a signed link")] = ""
    signature: Annotated[str, Query(description="From a signed link")] = ""

    def as_query(self) -> dict[str, str]:
        return {"expires": self.expires, "key": self.key, "signature": self.signature}


Link = Annotated[SignedLink, Depends()]
