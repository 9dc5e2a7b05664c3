"""Where clouds call back: an address that only they were given, for one generation, until its deadline."""

from __future__ import annotations

from datetime import datetime

from genpulse.signing import LinkSigner


class CallbackLinks:
    """Makes the addresses. Without a public URL there are none, and jobs are polled for alone."""

    def __init__(self, public_url: str, signer: LinkSigner) -> None:
        self._base = public_url.rstrip("/")
        self._signer = signer

    def url(self, cloud: str, generation_id: str, until: datetime) -> str | None:
        """The address for a job of this generation at that cloud."""
        if not self._base:
            return None
        path = callback_path(cloud, generation_id)
        return f"{self._base}{path}?{self._signer.sign(path, until)}"


def callback_path(cloud: str, generation_id: str) -> str:
    """What is signed, and routed."""
    return f"/v1/callbacks/{cloud}/{generation_id}"
