"""`genpulse api`, `genpulse worker`, `genpulse migrate`: one process of a deployment."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

from genpulse.catalog.clouds import CLOUDS
from genpulse.cli.settings import BadSettings, load_settings
from genpulse.schemas.queues import QUEUES, provider_queue

#: Event streams never end by themselves; a stopping server closes them after this, and their readers resume elsewhere.
_STREAM_GRACE_SECONDS = 3


def run_api() -> None:
    """Serve HTTP until SIGTERM or Ctrl-C."""
    import uvicorn

    server = load_settings().server
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        http="api.http_protocol:PatientProtocol",
        host=server.host,
        port=server.port,
        log_config=None,  # create_app sets up logging
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STREAM_GRACE_SECONDS,
    )


def run_worker(queues: Sequence[str]) -> None:
    """Serve task queues until SIGTERM or Ctrl-C."""
    known = {*QUEUES, *map(provider_queue, CLOUDS)}
    unknown = [name for name in queues if name not in known]
    if unknown:
        raise BadSettings(f"There is no queue {unknown[0]!r}; there are {', '.join(QUEUES)}.")
    settings = load_settings()

    import worker

    asyncio.run(worker.run_worker(settings, queues or QUEUES))
    # Or else the interpreter looks for garbage among all objects of torch and diffusers on its way out: more than a
    # second of work for nothing, and on a busy machine many times that.
    gc.freeze()


async def migrate_database() -> None:
    """Apply what the database lacks."""
    settings = load_settings()

    from genpulse.migrations import upgrade

    await upgrade(settings.database_url)
