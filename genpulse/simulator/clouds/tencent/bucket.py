"""A bucket of COS: objects, and pictures that are processed when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError
from starlette.responses import Response

from genpulse.simulator.clouds.tencent.signature import cos_error
from genpulse.simulator.core import Cloud, Upload
from genpulse.simulator.jobs import State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Route

Drawn = tuple[Format, int, int]
"""A picture's kind, width and height."""
_XML = "application/xml"
_MOST_BYTES, _LONG, _SHORT = 5 * 2**20, 1920, 1080
_PARAMETERS = {
    "AISuperResolution": {"ci-process", "detect-url", "magnify"},
    "AIEnhanceImage": {"ci-process", "detect-url", "denoise", "sharpen", "ignore-error"},
}


class Bucket:
    """What is at the root of the cloud, beside the path of API 3.0."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        return [
            Route("PUT", "/{key:path}", self.put),
            Route("GET", "/{key:path}", self.get, lambda call: Kind.SUBMIT if call.query else Kind.OTHER),
            Route("DELETE", "/{key:path}", self.delete),
        ]

    async def put(self, call: Call) -> Response:
        key = call.path["key"]
        self._drop(key)
        self._cloud.store(name=key, content_type=call.headers.get("Content-Type", ""), content=call.body)
        return Response(status_code=200, media_type=_XML)

    async def delete(self, call: Call) -> Response:
        self._drop(call.path["key"])
        return Response(status_code=204, media_type=_XML)

    async def get(self, call: Call) -> Response:
        process = call.query.get("ci-process")
        if process is None:
            found = self._object(call)
            return Response(found.content, media_type=found.content_type)
        if process not in _PARAMETERS or not set(call.query) <= _PARAMETERS[process]:
            raise cos_error(call, 400, "InvalidArgument", "A parameter is not known.")
        return await self._process(call, _factor(call, process))

    async def _process(self, call: Call, factor: int) -> Response:
        form, width, height = self._source(call)
        job = self._cloud.create(
            call,
            media=[Media(form, width * factor, height * factor)],
            model=call.query["ci-process"],
            body=dict(call.query),
        )
        if await self._cloud.finish(job) is State.FAILED:
            raise cos_error(call, 500, "InternalError", "We encountered an internal error. Please try again.")
        content = job.files[0].read() if job.files else b""
        return Response(content, media_type=form.content_type)

    #: A picture that is elsewhere is not fetched: it counts as a small one.
    unseen: Drawn = (Format.JPEG, 256, 256)

    def picture(self, key: str) -> Drawn | None:
        """The kind and size of an object; None unless it is there and a picture."""
        found = self._find(key)
        try:
            with Image.open(io.BytesIO(found.content if found else b"")) as picture:
                return (Format.PNG if picture.format == "PNG" else Format.JPEG, *picture.size)
        except UnidentifiedImageError:
            return None

    def _source(self, call: Call) -> Drawn:
        if "detect-url" in call.query:
            return self.unseen
        content = self._object(call).content
        source = self.picture(call.path["key"])
        if source is None:
            raise cos_error(call, 400, "InvalidImageFormat", "The object is not a picture.")
        _, *size = source
        if len(content) > _MOST_BYTES or max(size) > _LONG or min(size) > _SHORT:
            raise cos_error(call, 400, "ImageTooLarge", "The picture is too large.")
        return source

    def _find(self, key: str) -> Upload | None:
        return next((one for one in self._objects() if one.name == key), None)

    def _object(self, call: Call) -> Upload:
        found = self._find(call.path["key"])
        if found is None:
            raise cos_error(call, 404, "NoSuchKey", "The specified key does not exist.")
        return found

    def _objects(self) -> list[Upload]:
        return [one for (cloud, _), one in self._cloud.world.uploads.items() if cloud == self._cloud.name]

    def _drop(self, key: str) -> None:
        for one in self._objects():
            if one.name == key:
                del self._cloud.world.uploads[self._cloud.name, one.id]


def _factor(call: Call, process: str) -> int:
    if process != "AISuperResolution":
        return 1
    magnify = call.query.get("magnify", "2")
    if magnify not in ("2", "4"):
        raise cos_error(call, 400, "InvalidArgument", "magnify is 2 or 4.")
    return int(magnify)
