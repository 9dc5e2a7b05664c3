"""What the client of every cloud has in common: the request it gets, the job it starts, the outputs it brings back."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from genpulse.errors import InvalidInput
from genpulse.schemas.states import Operation


@dataclass(frozen=True, kw_only=True)
class Media:
    """An input file, in whichever form a cloud takes it; `url` is one that the cloud can reach, where we have one."""

    path: Path
    media_type: str
    url: str | None = None

    def base64(self) -> str:
        return base64.b64encode(self.path.read_bytes()).decode("ascii")

    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64()}"

    def url_or_data(self) -> str:
        """The URL where there is one: a cloud that takes both is sent less."""
        return self.url or self.data_url()


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """One paid call. `input` holds the common fields but the media, `options` what only this cloud knows.

    `wire` is the catalogue's: how this model differs from others of its cloud, in terms of the cloud's client. `key` is
    the same whenever this very call is repeated, and no other call has it: the cloud's idempotency key or client token,
    where it has one.
    """

    model: str
    operation: Operation
    wire: Mapping[str, Any]
    input: Mapping[str, Any]
    media: Mapping[str, Sequence[Media]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    key: str
    callback_url: str | None = None

    def one(self, name: str) -> Media | None:
        """The only file of that input field, if it was given."""
        files = self.media.get(name, ())
        return files[0] if files else None

    def check_listed(self, name: str, known: Sequence[float]) -> None:
        """Raise InvalidInput where a number was asked for that is none of these."""
        value = self.input.get(name)
        if value is not None and value not in known:
            allowed = ", ".join(f"{one:g}" for one in known)
            raise InvalidInput(f"`{name}` of {self.model} is one of {allowed}, not {value:g}.", field=f"input.{name}")


def merged(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A body with the caller's options in it: objects become one, lists grow, anything else is replaced."""
    whole = dict(body)
    for name, value in options.items():
        known = whole.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            whole[name] = merged(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            whole[name] = [*known, *value]
        else:
            whole[name] = value
    return whole


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the cloud calls the work it has accepted. Whatever it gave us to ask about it later is in `handle`."""

    id: str
    handle: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file the cloud made: behind a URL, to be fetched with `headers`, or right in the answer."""

    url: str | None = None
    content: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Not done yet. `fraction` from 0 to 1 where the cloud tells."""

    fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Done. `parameters` are those really used, `usage` what the cloud says it will bill, both as far as it tells.

    A client passes on what it is told, even if that is no output at all: the files may be a moment late.
    """

    outputs: Sequence[Output]
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    usage: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """An account at a cloud, in the terms of `GENPULSE_PROVIDERS__<NAME>__…`.

    `options` are what else a cloud wants to know of an account, such as a region or a project.
    """

    api_key: str | None = field(default=None, repr=False)
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


class Provider(ABC):
    """The client of one cloud, one object per account.

    All methods raise errors of `genpulse.errors`: ContentBlocked, ProviderRejected, InvalidInput (the call is wrong),
    ProviderAuthFailed, ProviderQuotaSpent (the account is), ProviderThrottled (come back later), ProviderUnavailable
    (down, and nothing was accepted), ProviderFailed (accepted, and failed at it). `submit` alone may raise
    OutcomeUnknown: it was sent, and whether it was accepted nobody knows.
    """

    name: ClassVar[str]
    default_url: ClassVar[str]
    can_cancel: ClassVar[bool] = False

    def remembers_key(self, call: ModelCall) -> bool:  # noqa: ARG002
        """Whether sending this call again brings its first job back instead of making a second one."""
        return False

    def can_find(self, call: ModelCall) -> bool:  # noqa: ARG002
        """Whether `find` could find the job of this call."""
        return False

    @abstractmethod
    async def submit(self, call: ModelCall) -> Job | Finished:
        """Send the call, once. A cloud that answers with the outputs themselves is finished at once."""

    @abstractmethod
    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        """Ask how far it is. Raises what the job failed with."""

    async def cancel(self, job: Job) -> None:  # noqa: B027 - a cloud that cannot cancel has nothing to do
        """Ask the cloud to stop; harmless when it is too late."""

    async def find(self, call: ModelCall, *, sent_at: datetime) -> Job | None:  # noqa: ARG002
        """The job of a call whose answer was lost, from the cloud's own list; None where the job is not in it.

        Asked only where `can_find` says so.
        """
        return None

    async def verify_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:  # noqa: B027
        """Raise Forbidden unless the cloud has signed this callback.

        Of a cloud that signs none, or whose secret is not known here, the signed address is the only proof. Either way
        a callback is not believed: it only means that it is time to poll.
        """
