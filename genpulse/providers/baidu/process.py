"""Pictures made larger or clearer, within the answer."""

from __future__ import annotations

from pydantic import Base64Bytes, BaseModel

from genpulse.providers.baidu.model import needed, wire_of
from genpulse.providers.baidu.pictures import PATIENCE
from genpulse.providers.baidu.platform import Platform
from genpulse.providers.base import Finished, ModelCall, Output

_PREFIX = "/rest/2.0/image-process/v1/"


class _Made(BaseModel):
    image: Base64Bytes | None = None


class Process:
    """A form with the picture goes out, and the picture comes back; nothing can be asked for afterwards."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def make(self, call: ModelCall) -> Finished:
        file = needed(call, "image")
        form = {"url": file.url} if file.url else {"image": file.base64()}
        form |= {name: str(value) for name, value in call.options.items()}
        made = await self._platform.pay(f"{_PREFIX}{wire_of(call).path}", _Made, data=form, timeout=PATIENCE)
        return Finished(outputs=[Output(content=made.image)] if made.image else [])
