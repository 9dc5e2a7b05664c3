"""Signed addresses under which clouds reach us: to fetch what they are to work on, and to call back."""

from __future__ import annotations

from datetime import datetime

from genpulse.signing import LinkSigner


class CloudLinks:
    """Makes the addresses, each for one thing and until one instant. Without a public URL there are none."""

    def __init__(self, public_url: str, signer: LinkSigner) -> None:
        self._base = public_url.rstrip("/")
        self._signer = signer

    def callback(self, cloud: str, generation_id: str, until: datetime) -> str | None:
        """Where a cloud calls back about a job of this generation."""
        return self._signed(callback_path(cloud, generation_id), until)

    def asset(self, asset_id: str, until: datetime) -> str | None:
        """Where the bytes of an asset are."""
        return self._signed(content_path(asset_id), until)

    def _signed(self, path: str, until: datetime) -> str | None:
        return f"{self._base}{path}?{self._signer.sign(path, until)}" if self._base else None


def callback_path(cloud: str, generation_id: str) -> str:
    return f"/v1/callbacks/{cloud}/{generation_id}"


def content_path(asset_id: str) -> str:
    return f"/v1/assets/{asset_id}/content"


def poster_path(asset_id: str) -> str:
    return f"/v1/assets/{asset_id}/poster"
