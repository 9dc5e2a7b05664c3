"""Image processing in COS: a picture is put into a bucket, and asked for enlarged or cleaned."""

from __future__ import annotations

from genpulse.providers.base import Finished, ModelCall, Output
from genpulse.providers.tencent.bucket import Bucket
from genpulse.providers.tencent.model import needed, wire_of


class Process:
    """The picture is in the bucket for as long as the call takes."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def make(self, call: ModelCall) -> Finished:
        query = _query(call)
        path = await self._bucket.put(call, needed(call, "image"))
        try:
            made = await self._bucket.processed(path, query)
        finally:
            await self._bucket.drop(path)
        return Finished(outputs=[Output(content=made)])


def _query(call: ModelCall) -> dict[str, str]:
    query = {"ci-process": wire_of(call).action}
    if "scale" in call.input:
        query["magnify"] = str(int(call.input["scale"]))
    return query | {name: str(value) for name, value in call.options.items()}
