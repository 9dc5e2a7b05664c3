"""`genpulse generate`: submit, watch, save."""

from __future__ import annotations

import json
import mimetypes
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from genpulse.cli.connection import Connection
from genpulse.cli.progress import failure, follow
from genpulse.client import Client, ClientError
from genpulse.schemas.assets import Asset

console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was typed."""

    prompt: str | None
    model: str | None
    operation: str | None
    inputs: list[str]
    image: Path | None
    video: Path | None

    async def as_request(self, client: Client) -> dict[str, Any]:
        """The body for `POST /v1/generations`; files are uploaded first."""
        given = dict(_parse_input(text) for text in self.inputs)
        if self.prompt is not None:
            given["prompt"] = self.prompt
        for name, file in (("image", self.image), ("video", self.video)):
            if file is not None:
                given[name] = {"asset": (await client.upload(file)).id}
        named = {"model": self.model, "operation": self.operation or await self._operation(client)}
        return {name: value for name, value in named.items() if value is not None} | {"input": given}

    async def _operation(self, client: Client) -> str | None:
        """What a model with several operations is to do, where the files say it: none for text-to-…, an image for …"""
        if self.model is None:
            return None
        source = "video" if self.video else "image" if self.image else "text"
        operations = (await client.model(self.model)).operations
        fitting = [operation for operation in operations if operation.startswith(source)]
        return fitting[0] if len(fitting) == 1 else None


async def run(connection: Connection, wish: Wish, out: Path) -> None:
    """Generate, and save the outputs in `out`."""
    make_folder(out)
    async with connection.open() as client:
        request = await wish.as_request(client)
        generation = await client.submit(request, idempotency_key=str(uuid.uuid4()))
        console.print(f"[dim]{generation.id}[/]")
        for adaption in generation.adaptions:
            console.print(f"[dim]{adaption.message}[/]")
        generation = await follow(client, generation, console)
        if error := failure(generation):
            raise error
        for file in await save(client, generation.outputs, out, stem=generation.id):
            console.print(str(file), soft_wrap=True)


async def save(client: Client, assets: list[Asset], folder: Path, *, stem: str) -> list[Path]:
    """Download assets as `stem.png`, or `stem-1.png`, `stem-2.png` … where there are several."""
    files = []
    for number, asset in enumerate(assets, start=1):
        suffix = mimetypes.guess_extension(asset.media_type, strict=False) or ".bin"
        file = folder / (f"{stem}-{number}{suffix}" if len(assets) > 1 else f"{stem}{suffix}")
        await client.download(asset, file)
        files.append(file)
    return files


def make_folder(folder: Path) -> None:
    """Make sure that outputs have a place to go."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClientError(f"{folder} cannot be used as a folder: {error.strerror}.") from error


def _parse_input(text: str) -> tuple[str, Any]:
    """`duration=2` → ("duration", 2). What is no JSON is taken as text."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ClientError(f"--input {text!r} is not of the form KEY=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
