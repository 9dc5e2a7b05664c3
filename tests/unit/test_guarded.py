"""What a cloud says of a call ends in rows, histories and answers: never our keys, never more than they hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from pydantic import SecretStr

from genpulse.errors import (
    Forbidden,
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    UnsafeUrl,
)
from genpulse.limits import AccountLimits
from genpulse.net import http_client
from genpulse.providers.base import Finished, Job, Media, ModelCall, Output, Pending, Provider
from genpulse.providers.guarded import GuardedProvider
from genpulse.providers.registry import Account, Accounts
from genpulse.schemas.states import Operation
from genpulse.settings import ProviderSettings
from tests.servers.files import file_server

SECRET = "sk-0123456789abcdef"
CALL = ModelCall(
    model="any", operation=Operation.TEXT_TO_IMAGE, wire={"endpoint": "any/model"}, input={}, key="gen-0-1"
)
JOB = Job(id="1")


class Talking(Provider):
    """Answers, or raises, whatever a test puts into it."""

    name: ClassVar[str] = "cloud"
    default_url: ClassVar[str] = "https://cloud.example"

    def __init__(self, answer: object = None) -> None:
        self.answer = answer

    def _told(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def submit(self, call: ModelCall) -> Job | Finished:
        return self._told()  # type: ignore[return-value]

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        return self._told()  # type: ignore[return-value]

    async def cancel(self, job: Job) -> None:
        self._told()

    async def find(self, call: ModelCall, *, sent_at: datetime) -> Job | None:
        return self._told()  # type: ignore[return-value]

    async def verify_callback(self, headers, body: bytes, *, now: datetime) -> None:
        self._told()


def guarded(answer: object = None) -> GuardedProvider:
    return GuardedProvider(Talking(answer), [SECRET, "eu", ""])


def every_way(cloud: GuardedProvider) -> list[Callable[[], Awaitable[object]]]:
    now = datetime.now(UTC)
    return [
        lambda: cloud.submit(CALL),
        lambda: cloud.poll(JOB, CALL),
        lambda: cloud.cancel(JOB),
        lambda: cloud.find(CALL, sent_at=now),
        lambda: cloud.verify_callback({}, b"", now=now),
    ]


@pytest.mark.parametrize("way", range(5))
@pytest.mark.parametrize("kind", [ProviderAuthFailed, ProviderRejected, OutcomeUnknown, Forbidden])
async def test_an_error_does_not_quote_the_key(way: int, kind: type[GenPulseError]) -> None:
    cloud = guarded(kind(f"cloud: the key {SECRET} in eu is wrong\0", asked=f"Key {SECRET}", status=401))
    with pytest.raises(kind) as caught:
        await every_way(cloud)[way]()
    assert caught.value.message == str(caught.value) == "cloud: the key [hidden] in eu is wrong "
    assert caught.value.details == {"asked": "Key [hidden]", "status": 401}


@pytest.mark.parametrize("way", range(5))
async def test_an_address_that_the_cloud_named_is_not_the_caller_s_fault(way: int) -> None:
    with pytest.raises(ProviderFailed, match="cloud named an address that is not asked") as caught:
        await every_way(guarded(UnsafeUrl("it is private")))[way]()
    assert not caught.value.retryable


async def test_an_error_is_cut_to_what_a_row_holds() -> None:
    with pytest.raises(ProviderRejected) as caught:
        await guarded(ProviderRejected("x" * 10**6)).submit(CALL)
    assert len(caught.value.message) == 501


@pytest.mark.parametrize(
    "job",
    [
        Job(id=""),
        Job(id="x" * 256),
        Job(id="a\0b"),
        Job(id="a\nb"),
        Job(id="1", handle={"url": "x" * 5000}),
        Job(id="1", handle={"url": "a\0"}),
    ],
)
async def test_a_job_that_cannot_be_kept_is_unknown_and_not_sent_again(job: Job) -> None:
    with pytest.raises(OutcomeUnknown, match="an id that cannot be kept"):
        await guarded(job).submit(CALL)
    with pytest.raises(OutcomeUnknown, match="an id that cannot be kept"):
        await guarded(job).find(CALL, sent_at=datetime.now(UTC))


async def test_an_ordinary_answer_passes_as_it_is() -> None:
    job = Job(id="x" * 255, handle={"url": "https://cloud.example/1"})
    done = Finished(outputs=[Output(url="https://cloud.example/1.png")], parameters={"seed": 1}, usage={"images": 1.0})
    assert await guarded(job).submit(CALL) == job
    assert await guarded(done).submit(CALL) == await guarded(done).poll(JOB, CALL) == done
    assert await guarded(Pending(fraction=0.5)).poll(JOB, CALL) == Pending(fraction=0.5)
    assert await guarded(None).find(CALL, sent_at=datetime.now(UTC)) is None
    assert not (guarded().remembers_key(CALL) or guarded().can_find(CALL) or guarded().can_cancel)


async def test_facts_are_such_that_every_database_takes_them() -> None:
    told: dict[str, str | int | float] = {
        "nan": float("nan"),
        "inf": float("inf"),
        "huge": 10**400,
        "prompt": f"a\0{SECRET}",
        "fine": 3,
    }
    done = Finished(
        outputs=[Output(url="https://cloud.example/1")], parameters=told, usage={f"n{i}": i for i in range(99)}
    )
    state = await guarded(done).poll(JOB, CALL)
    assert isinstance(state, Finished)
    assert state.parameters == {"prompt": "a [hidden]", "fine": 3}
    assert len(state.usage) == 64


async def test_files_without_end_are_refused() -> None:
    done = Finished(outputs=[Output(url="https://cloud.example/1")] * 65)
    with pytest.raises(ProviderFailed, match="made 65 files of one call"):
        await guarded(done).poll(JOB, CALL)


# Addresses within answers ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def account(name: str, base_url: str) -> AsyncIterator[Account]:
    """An account as the worker opens it: private addresses are refused, but for its own endpoint."""
    settings = ProviderSettings(base_url=base_url, api_key=SecretStr(SECRET))
    async with http_client(trusted_urls=[base_url]) as client:
        yield Accounts({name: settings}, {name: client}).of(f"{name}/any")


INTERNAL = [
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://10.0.0.1/",
    "http://127.0.0.1:1/",
    "http://[::1]/",
    "http://[fd00:ec2::254]/",
    "http://0x7f.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
]


@pytest.mark.parametrize("named", INTERNAL)
async def test_an_output_in_our_own_network_is_not_fetched(named, tmp_path) -> None:
    async with file_server() as cloud, account("replicate", cloud.url) as at_cloud:
        cloud.answers["/predictions/1"] = {"id": "1", "status": "succeeded", "output": named}
        state = await at_cloud.provider.poll(JOB, CALL)
        if not isinstance(state, Finished) or not state.outputs:
            assert not named.startswith("http"), "what is no link is no output"
            return
        with pytest.raises(ProviderFailed, match="gave a file that is not fetched"):
            await at_cloud.fetch(state.outputs[0], tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", INTERNAL[:6])
async def test_an_output_that_redirects_into_our_own_network_is_not_fetched(named, tmp_path) -> None:
    async with file_server() as cloud, account("replicate", cloud.url) as at_cloud:
        cloud.redirects["/file"] = named
        with pytest.raises(ProviderFailed, match="gave a file that is not fetched"):
            await at_cloud.fetch(Output(url=f"{cloud.url}/file"), tmp_path / "file")
    assert [one.path for one in cloud.seen] == ["/file"]
    assert list(tmp_path.iterdir()) == []


async def test_another_port_of_the_cloud_s_own_machine_is_not_the_cloud(tmp_path: Path) -> None:
    async with file_server() as cloud, file_server() as neighbour, account("replicate", cloud.url) as at_cloud:
        cloud.redirects["/file"] = f"{neighbour.url}/secrets"
        for url in (f"{neighbour.url}/secrets", f"{cloud.url}/file"):
            with pytest.raises(ProviderFailed, match="private, local or reserved"):
                await at_cloud.fetch(Output(url=url), tmp_path / "file")
        assert neighbour.seen == []


async def test_what_opens_a_file_is_not_shown_to_whom_it_redirects_to(tmp_path: Path) -> None:
    async with file_server() as cloud, file_server() as storage, http_client(allow_private=True) as client:
        cloud.redirects["/file"] = f"{storage.url}/stored"
        storage.files["/stored"] = b"a picture"
        opened = Account(
            name="cloud",
            endpoint=cloud.url,
            provider=guarded(),
            limits=AccountLimits(rate=None),
            http=client,
            max_bytes=100,
        )
        output = Output(url=f"{cloud.url}/file", headers={"x-goog-api-key": SECRET})
        assert (await opened.fetch(output, tmp_path / "file")).read_bytes() == b"a picture"
    assert cloud.seen[0].headers["x-goog-api-key"] == SECRET
    assert "x-goog-api-key" not in storage.seen[0].headers


@pytest.mark.parametrize("named", [*INTERNAL, "", "@127.0.0.1:1/", ".elsewhere.example/", "?x", "//127.0.0.1:1/"])
async def test_an_address_to_poll_at_in_our_own_network_is_not_asked(named: str) -> None:
    handles = {"bfl": {"polling_url": named}, "fal": {"status": named, "result": named, "cancel": named}}
    for name, handle in handles.items():
        async with file_server() as cloud, account(name, cloud.url) as at_cloud:
            with pytest.raises((ProviderFailed, ProviderUnavailable, JobMissing)):
                await at_cloud.provider.poll(Job(id="1", handle=handle), CALL)
            # Of all these, one is a path at the cloud itself, where it leads nowhere.
            assert {one.path for one in cloud.seen} <= {"//127.0.0.1:1/"}


async def test_a_poll_is_not_led_away_by_a_redirect() -> None:
    async with file_server() as cloud, file_server() as neighbour, account("bfl", cloud.url) as at_cloud:
        cloud.redirects["/poll"] = f"{neighbour.url}/secrets"
        with pytest.raises(GenPulseError, match="answered 302"):
            await at_cloud.provider.poll(Job(id="1", handle={"polling_url": f"{cloud.url}/poll"}), CALL)
        assert neighbour.seen == []


async def test_an_upload_into_our_own_network_is_not_made(tmp_path: Path) -> None:
    """Runway names the address that a large file is posted to."""
    async with file_server() as cloud, file_server() as neighbour, account("runway", cloud.url) as at_cloud:
        cloud.answers["/v1/uploads"] = {"uploadUrl": f"{neighbour.url}/put", "fields": {}, "runwayUri": "runway://1"}
        with pytest.raises(ProviderFailed, match="named an address that is not asked"):
            await at_cloud.provider.submit(large_call(tmp_path))
        assert neighbour.seen == []


def large_call(folder: Path) -> ModelCall:
    file = folder / "large.mp4"
    file.write_bytes(bytes(4_000_000))
    return ModelCall(
        model="gen4_aleph",
        operation=Operation.VIDEO_TO_VIDEO,
        wire={"path": "video_to_video", "model": "gen4_aleph"},
        input={"prompt": "x"},
        media={"video": [Media(path=file, media_type="video/mp4")]},
        key="gen-0-1",
    )


def test_the_secrets_of_an_account_do_not_show() -> None:
    settings = ProviderSettings(
        api_key=SecretStr(SECRET), options={"app_secret": SecretStr("the-app-secret-of-baidu")}, base_url="http://c/"
    )
    client = httpx.AsyncClient()
    shown = (
        f"{settings!r} {settings} {settings.model_dump()} {Accounts({'baidu': settings}, {'baidu': client}).all()!r}"
    )
    assert SECRET not in shown
    assert "the-app-secret-of-baidu" not in shown
