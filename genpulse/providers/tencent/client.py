"""The client: six services behind a pair of keys, and TokenHub behind a key of its own."""

from __future__ import annotations

from typing import ClassVar, TypeVar
from urllib.parse import urlsplit

import httpx

from genpulse.errors import ProviderAuthFailed
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.tencent.bucket import Bucket, Place
from genpulse.providers.tencent.hub import Hub
from genpulse.providers.tencent.jobs import Jobs
from genpulse.providers.tencent.model import Product, wire_of
from genpulse.providers.tencent.mps import Mps
from genpulse.providers.tencent.pictures import Pictures
from genpulse.providers.tencent.process import Process
from genpulse.providers.tencent.vod import Vod

Part = TypeVar("Part", Vod, Jobs, Pictures, Process, Mps, Hub)

_OWN_HOSTS = "tencentcloudapi.com"
_HUB = "https://tokenhub.tencentmaas.com"
_REGION = "ap-guangzhou"
_PAIR = "access_key and secret_key"
_BUCKET = f"{_PAIR}, and `bucket` in the options,"
_VOD = frozenset({Product.VOD_VIDEO, Product.VOD_IMAGE})


class Tencent(Provider):
    """VOD tells a call that it has had before; of the others a lost answer stays unknown. None can cancel."""

    name: ClassVar[str] = "tencent"
    default_url: ClassVar[str] = f"https://vod.{_OWN_HOSTS}"

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        hosts = _Hosts((base_url or self.default_url).rstrip("/"))
        options = credentials.options
        region, bucket = options.get("region", _REGION), options.get("bucket")
        self._hub = Hub(hosts.hub(), client, key=credentials.api_key) if credentials.api_key else None
        self._vod: Vod | None = None
        self._jobs: Jobs | None = None
        self._pictures: Pictures | None = None
        self._process: Process | None = None
        self._mps: Mps | None = None
        if credentials.access_key and credentials.secret_key:
            keys = (credentials.access_key, credentials.secret_key)
            self._vod = Vod(hosts.of("vod"), client, keys=keys, sub_app=options.get("sub_app_id"))
            self._jobs = Jobs(hosts.of("vclm"), client, keys=keys, region=region)
            self._pictures = Pictures(hosts.of("aiart"), hosts.of("tiia"), client, keys=keys, region=region)
            if bucket:
                store = Bucket(Place(url=hosts.bucket(bucket, region), name=bucket, region=region), client, keys=keys)
                self._process = Process(store)
                self._mps = Mps(hosts.of("mps"), client, keys=keys, region=region, bucket=store)

    def remembers_key(self, call: ModelCall) -> bool:
        """VOD refuses a second request with the same `SessionId`, and then the first one's task is looked up."""
        return wire_of(call).product in _VOD

    async def submit(self, call: ModelCall) -> Job | Finished:
        match wire_of(call).product:
            case Product.VOD_VIDEO | Product.VOD_IMAGE:
                return await _needed(self._vod, _PAIR).submit(call)
            case Product.JOB:
                return await _needed(self._jobs, _PAIR).submit(call)
            case Product.PICTURE:
                return await _needed(self._pictures, _PAIR).make(call)
            case Product.PICTURE_JOB:
                return await _needed(self._pictures, _PAIR).submit(call)
            case Product.PROCESS:
                return await _needed(self._process, _BUCKET).make(call)
            case Product.MPS:
                return await _needed(self._mps, _BUCKET).submit(call)
        return await _needed(self._hub, "api_key").submit(call)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        match wire_of(call).product:
            case Product.VOD_VIDEO | Product.VOD_IMAGE:
                return await _needed(self._vod, _PAIR).poll(job)
            case Product.JOB:
                return await _needed(self._jobs, _PAIR).poll(job)
            case Product.PICTURE_JOB:
                return await _needed(self._pictures, _PAIR).poll(job, call)
            case Product.MPS:
                return await _needed(self._mps, _BUCKET).poll(job)
        return await _needed(self._hub, "api_key").poll(job, call)


class _Hosts:
    """Tencent has a host for each service; any other, such as a gateway, serves them all."""

    def __init__(self, url: str) -> None:
        host = urlsplit(url).hostname or ""
        self._gateway = None if host.endswith(f".{_OWN_HOSTS}") else url

    def of(self, service: str) -> str:
        return self._gateway or f"https://{service}.{_OWN_HOSTS}"

    def hub(self) -> str:
        return self._gateway or _HUB

    def bucket(self, name: str, region: str) -> str:
        return self._gateway or f"https://{name}.cos.{region}.myqcloud.com"


def _needed(part: Part | None, what: str) -> Part:
    if part is None:
        raise ProviderAuthFailed(f"tencent: this model needs {what} of GENPULSE_PROVIDERS__TENCENT__….")
    return part
