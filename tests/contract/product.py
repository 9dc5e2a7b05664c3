"""The API and a worker as real processes beside a real Temporal server, with something of everything in the tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from genpulse.db import Database, utc_now
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Parking
from genpulse.security import link_signer
from genpulse.settings import DatabaseSettings, SecuritySettings, Settings, TemporalSettings
from genpulse.signing import LinkSigner, link_expiry
from tests.integration.conftest import AUTH, KEY, ROOT, ApiServer, Run, png
from tests.servers.temporal import temporal_server

FAKE = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}
#: Nobody works on the queue of this model: it waits, and so can be cancelled.
WAITS = {"model": "local/shapes", "operation": "text-to-image", "input": {"prompt": "a red circle"}}
#: Nobody works on the queue of deliveries: nothing is ever sent there.
RECEIVER = "https://93.184.215.14/hook"

_ENCRYPTION_KEY = "k" * 43 + "="
_FAULT = GenerationFault(
    code="provider_unavailable", message="It does not answer.", retryable=True, provider="local", details={}
)
_KEPT_FOR = timedelta(days=7)
_PATIENCE = 60.0
_ID = re.compile(r"([a-z]+)_[0-9a-z]{26}")
_LATEST = 40


@dataclass
class Known:
    """Ids of objects that are there, by their prefix: planted at the start, and found in answers since.

    Planted generations have all ended, and nobody deletes what was planted.
    """

    picture: str = ""
    videos: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    planted: dict[str, list[str]] = field(default_factory=dict)
    found: dict[str, deque[str]] = field(default_factory=dict)

    def learn(self, answer: Any) -> None:
        """Take the ids of whatever an answer shows."""
        if isinstance(answer, dict):
            own = answer.get("id")
            if isinstance(own, str) and (form := _ID.fullmatch(own)) and own not in self.planted.get(form[1], ()):
                found = self.found.setdefault(form[1], deque(maxlen=_LATEST))
                if own not in found:
                    found.append(own)
        if isinstance(answer, dict | list):
            for value in answer.values() if isinstance(answer, dict) else answer:
                self.learn(value)

    def take(self, prefix: str) -> str | None:
        """Something that may be deleted; it is not known any more then."""
        found = self.found.get(prefix)
        return found.pop() if found else None


@dataclass
class Product:
    """What runs, and what is in it."""

    url: str
    database_url: str
    known: Known
    signer: LinkSigner

    def signed(self, path: str) -> dict[str, str]:
        """The query of a link to this path, as the API makes it."""
        expiry = link_expiry(utc_now(), SecuritySettings().link_lifetime)
        return dict(httpx.QueryParams(self.signer.sign(path, expiry)))

    def plant_expendable(self) -> None:
        """What a test may delete."""
        with httpx.Client(base_url=self.url, headers=AUTH, timeout=30) as client:
            for _ in range(3):
                self.known.learn(client.post("/v1/assets", files={"file": ("a.png", png())}).raise_for_status().json())
                self.known.learn(client.post("/v1/keys", json={"scopes": ["read"]}).raise_for_status().json())
                made = client.post("/v1/webhooks", json={"url": RECEIVER})
                if made.status_code != httpx.codes.CONFLICT:  # as many as there may be
                    self.known.learn(made.raise_for_status().json())

    async def plant_dead_letters(self, count: int) -> None:
        """Write down of generations that wait that they cannot go on; they are the only dead letters known then."""
        database = Database(self.database_url)
        with httpx.Client(base_url=self.url, headers=AUTH, timeout=30) as client:
            self.known.dead = [_submit(client, WAITS) for _ in range(count)]
        for generation_id in self.known.dead:
            run = Run(database, generation_id)
            await run.begin()
            await run.records.park(
                Parking(
                    generation_id=generation_id, position=0, round=0, fault=_FAULT, kept_until=utc_now() + _KEPT_FOR
                )
            )
        await database.dispose()


@contextmanager
def running_product(folder: Path, database_url: str = "") -> Iterator[Product]:
    """Start everything, and plant uploads and generations."""
    with temporal_server() as temporal:
        settings = Settings(
            data_dir=folder,
            database=DatabaseSettings(url=database_url),
            security=SecuritySettings(admin_key=SecretStr(KEY)),
            temporal=TemporalSettings(address=temporal.address, encryption_key=SecretStr(_ENCRYPTION_KEY)),
        )
        environment = os.environ | {
            "GENPULSE_DATA_DIR": str(folder),
            "GENPULSE_DATABASE__URL": settings.database_url,
            "GENPULSE_TEMPORAL__ADDRESS": temporal.address,
            "GENPULSE_TEMPORAL__ENCRYPTION_KEY": _ENCRYPTION_KEY,
        }
        subprocess.run([sys.executable, "-m", "genpulse.cli", "migrate"], cwd=ROOT, env=environment, check=True)
        server = ApiServer(settings, folder / "api.log")
        with (folder / "worker.log").open("wb") as log:
            command = [sys.executable, "worker.py", "--queues", "gp-workflows,gp-fake"]
            worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            server.wait_until_up()
            with httpx.Client(base_url=server.url, headers=AUTH, timeout=30) as client:
                known = _plant(client)
            yield Product(server.url, settings.database_url, known, link_signer(settings.security))
        finally:
            for process in (server.process, worker):
                process.kill()
                process.wait()


def _plant(client: httpx.Client) -> Known:
    picture = client.post("/v1/assets", files={"file": ("a.png", png())}).raise_for_status().json()["id"]
    moving = {"model": "local/fake", "operation": "image-to-video", "input": {"image": {"asset": picture}}}
    still, video, canceled = [_submit(client, body) for body in (FAKE, moving, WAITS)]
    _seen(client, canceled, "running")
    client.post(f"/v1/generations/{canceled}/cancel").raise_for_status()
    ended = {still: "succeeded", video: "succeeded", canceled: "canceled"}
    outputs = {one: [made["id"] for made in _seen(client, one, status)["outputs"]] for one, status in ended.items()}
    webhook = client.post("/v1/webhooks", json={"url": RECEIVER}).raise_for_status().json()["id"]
    events = [client.post(f"/v1/webhooks/{webhook}/ping").raise_for_status().json()["id"] for _ in range(2)]
    return Known(
        picture=picture,
        videos=outputs[video],
        waiting=[_submit(client, WAITS) for _ in range(5)],
        planted={
            "gen": list(ended),
            "ast": [picture, *outputs[still], *outputs[video]],
            "whk": [webhook],
            "evt": events,
            "ten": [client.post("/v1/admin/tenants", json={"name": "acme"}).raise_for_status().json()["id"]],
            "key": [client.post("/v1/keys", json={"scopes": ["read"]}).raise_for_status().json()["id"]],
        },
    )


def _submit(client: httpx.Client, body: dict[str, Any]) -> str:
    answer = client.post("/v1/generations", json=body)
    generation_id: str = answer.raise_for_status().json()["id"]
    return generation_id


def _seen(client: httpx.Client, generation_id: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        generation: dict[str, Any] = client.get(f"/v1/generations/{generation_id}").raise_for_status().json()
        if generation["status"] == status:
            return generation
        assert time.monotonic() < deadline, generation
        time.sleep(0.1)
