"""Which API the command line talks to, and with which key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from genpulse.client import Client
from genpulse.stack.data_dir import read_admin_key


@dataclass(frozen=True)
class Connection:
    """An address and a key."""

    url: str
    key: str | None = field(repr=False)

    @classmethod
    def to(cls, url: str, key: str | None, data_dir: Path) -> Self:
        """With the key that was given, or else the one that the stack on this folder made."""
        return cls(url, key or read_admin_key(data_dir))

    def open(self) -> Client:
        """A client; an async context manager."""
        return Client(self.url, self.key)
