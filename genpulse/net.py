"""The only way out to other HTTP servers: one client factory, with a guard over the addresses it may reach.

A URL that a caller gives must not lead into our own network. Checking it beforehand is not enough, because a name may
resolve to something else a moment later. So the check sits where the connection is made: the name is resolved, each of
its addresses is judged, and one that was judged is connected to. A redirect is a request of its own and so is judged
too. TLS and the Host header still see the name.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import httpcore
import httpx

from genpulse.errors import AssetUnavailable, MediaRejected, UnsafeUrl
from genpulse.failpoints import Failpoint

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]

#: Private networks: refused unless private addresses are allowed, for development and tests.
_PRIVATE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",  # RFC 1918
            "172.16.0.0/12",  # RFC 1918
            "192.168.0.0/16",  # RFC 1918
            "100.64.0.0/10",  # shared by carriers, RFC 6598
            "127.0.0.0/8",  # loopback, RFC 1122
            "::1/128",  # loopback, RFC 4291
            "fc00::/7",  # unique local, RFC 4193
        ),
    )
)
#: Metadata and platform services of clouds, which lie within the private networks above or even among public addresses.
_METADATA = tuple(
    map(
        ip_network,
        (
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "fd00:ec2::/32",  # AWS
            "fd20:ce::/32",  # Google
        ),
    )
)
#: Neither private nor public: no web server that anybody means to name is here.
_RESERVED = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host, RFC 1122
            "169.254.0.0/16",  # link-local, RFC 3927; most clouds' metadata service
            "192.0.0.0/24",  # protocol assignments, RFC 6890; Oracle's metadata service
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.31.196.0/24",  # AS112, RFC 7535
            "192.52.193.0/24",  # AMT, RFC 7450
            "192.88.99.0/24",  # 6to4 relays, RFC 7526
            "192.175.48.0/24",  # AS112, RFC 7534
            "198.18.0.0/15",  # benchmarks, RFC 2544
            "198.51.100.0/24",  # documentation, RFC 5737
            "203.0.113.0/24",  # documentation, RFC 5737
            "224.0.0.0/4",  # multicast, RFC 5771
            "240.0.0.0/4",  # reserved, RFC 1112; broadcast, RFC 919
            # IPv6 hands out 2000::/3 (RFC 4291). All the rest goes: unspecified ::, IPv4-mapped ::ffff:0:0/96, NAT64
            # 64:ff9b::/96 (RFC 6052) and 64:ff9b:1::/48 (RFC 8215), discard 100::/64 (RFC 6666), segment routing
            # 5f00::/16 (RFC 9602), link-local fe80::/10, site-local fec0::/10 (RFC 3879), multicast ff00::/8 …
            "::/3",
            "4000::/2",
            "8000::/1",
            # … and of 2000::/3 what is no ordinary address:
            "2001::/23",  # protocol assignments, RFC 2928: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation, RFC 3849
            "2002::/16",  # 6to4, RFC 3056
            "2620:4f:8000::/48",  # AS112, RFC 7534
            "3fff::/20",  # documentation, RFC 9637
        ),
    )
)
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_MAX_NAME = 254
_ENDS_IN_NUMBER = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)\.?$")
_WEB_PORTS = frozenset({80, 443})
_FIRST_FREE_PORT = 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_REDIRECTS = 5
_CHUNK_BYTES = 2**20
#: The parts of one request; what is asked of a whole exchange is for the caller to bound.
_TIMEOUTS = httpx.Timeout(30, connect=5, pool=10)
_TEMPORARY = frozenset({408, 425, 429})
#: Of the compressions, only those whose output is a bounded multiple of what was received.
_HEADERS = {"User-Agent": "GenPulse", "Accept-Encoding": "gzip, deflate"}


async def resolve_host(host: str, port: int) -> list[Address]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(entry[4][0]) for entry in found]


def is_allowed(address: Address, *, allow_private: bool) -> bool:
    """Whether outgoing requests may reach this address."""
    if any(address in network for network in _METADATA):
        return False
    if any(address in network for network in _PRIVATE):
        return allow_private
    return not any(address in network for network in _RESERVED)


@dataclass(frozen=True, kw_only=True)
class AddressGuard:
    """Judges URLs and the addresses behind them. `trusted` are hosts and ports from our own configuration."""

    allow_private: bool = False
    trusted: frozenset[tuple[str, int]] = frozenset()

    def check_url(self, url: str | httpx.URL) -> None:
        """Raise UnsafeUrl for what can be told without asking the network."""
        parsed = _parse(url)
        if parsed.scheme not in _DEFAULT_PORTS:
            raise UnsafeUrl("only http and https URLs are fetched")
        if parsed.userinfo:
            raise UnsafeUrl("a URL with a user name or password is not fetched; use a signed link instead")
        host, port = _origin(parsed)
        if (host, port) in self.trusted:
            return
        if port not in _WEB_PORTS and not _FIRST_FREE_PORT <= port <= 65535:
            raise UnsafeUrl(f"port {port} belongs to another protocol; use 80, 443 or one from 1024 on")
        literal = _literal(host)
        if literal is not None:
            self._check_address(literal)

    async def addresses(self, host: str, port: int, resolve: Resolve) -> list[Address]:
        """Resolve the host and return its addresses; raise UnsafeUrl unless each of them may be reached."""
        if (host, port) in self.trusted:
            return await resolve(host, port)
        literal = _literal(host)
        found = [literal] if literal is not None else await resolve(host, port)
        for address in found:
            self._check_address(address)
        return found

    def _check_address(self, address: Address) -> None:
        if not is_allowed(address, allow_private=self.allow_private):
            # The address itself stays unsaid: our name servers may know names that outsiders do not.
            raise UnsafeUrl("the URL leads to a private, local or reserved address; give a public one")


def _literal(host: str) -> Address | None:
    """The address that the host is written as, or None for a name; raise UnsafeUrl for what is neither."""
    if ":" in host and "%" not in host:
        return IPv6Address(host)
    if len(host) > _MAX_NAME or not _NAME.fullmatch(host):
        raise UnsafeUrl("the URL's host is neither a name nor an address")
    if _ENDS_IN_NUMBER.search(host) is None:
        return None
    try:
        return IPv4Address(host)
    except AddressValueError:
        # 127.1, 0x7f000001, 2130706433 or 0177.0.0.1, which resolvers read in different ways.
        raise UnsafeUrl("an IPv4 address must be written as four decimal numbers") from None


def _parse(url: str | httpx.URL) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        _ = parsed.host  # decoded only now, by idna, which raises UnicodeError
    except (httpx.InvalidURL, UnicodeError) as error:
        raise UnsafeUrl("the URL cannot be read; write it as https://host/path") from error
    return parsed


def _origin(url: httpx.URL) -> tuple[str, int]:
    port = url.port if url.port is not None else _DEFAULT_PORTS.get(url.scheme, 0)
    return url.raw_host.decode("ascii"), port


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to judged addresses only."""

    def __init__(self, guard: AddressGuard, resolve: Resolve) -> None:
        self._guard = guard
        self._resolve = resolve
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(  # the signature is httpcore's
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._guard.addresses(host, port, self._resolve)
                return await self._connect(addresses, port, timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection to {host} within {timeout} s") from error
        except OSError as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved") from error

    async def _connect(self, addresses: list[Address], port: int, seconds: float | None) -> httpcore.AsyncNetworkStream:
        """Take the first address that answers; a host may have addresses of a kind that this machine cannot reach.

        Each gets its share of the time, so that one which swallows everything does not use it up.
        """
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(str(address), port, seconds and seconds / len(addresses))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport, over a pool that connects through the guard."""

    def __init__(self, guard: AddressGuard, resolve: Resolve, ssl_context: ssl.SSLContext) -> None:
        # Instead of the parent's constructor, which makes a pool without a place for the guard.
        self._guard = guard
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=100,
            max_keepalive_connections=20,
            # Many servers close after 5 s. What is sent at that very moment has an unknown outcome.
            keepalive_expiry=3,
            network_backend=_GuardedBackend(guard, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._guard.check_url(request.url)
        return await super().handle_async_request(request)


@cache
def _ssl_context() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes as long as hundreds of requests."""
    return httpx.create_ssl_context()


def http_client(
    *, allow_private: bool = False, trusted_urls: Iterable[str] = (), resolve: Resolve = resolve_host
) -> httpx.AsyncClient:
    """Make a client that reaches public addresses, private ones where allowed, and the hosts of `trusted_urls`.

    Trusted are base URLs from our own configuration. A client that fetches what callers name must have none.
    It follows no redirects by itself, keeps no cookies, and takes no proxy from the environment: a proxy would connect
    to addresses that nobody has judged.
    """
    guard = AddressGuard(
        allow_private=allow_private, trusted=frozenset(_origin(httpx.URL(url)) for url in trusted_urls if url)
    )
    return httpx.AsyncClient(
        transport=_GuardedTransport(guard, resolve, _ssl_context()),
        timeout=_TIMEOUTS,
        headers=_HEADERS,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
    )


@Failpoint("net.download")
async def download(
    client: httpx.AsyncClient,
    url: str,
    to: Path,
    *,
    max_bytes: int,
    timeout: float,  # noqa: ASYNC109  # the caller's budget for all of it, redirects included
    headers: Mapping[str, str] | None = None,
) -> int:
    """Fetch the URL into a file and return its length; `timeout` bounds the whole of it, in seconds.

    `headers` go to the first host and port only.

    Raises UnsafeUrl, MediaRejected for what is too large, and AssetUnavailable for what cannot be had; its
    `retryable` tells whether trying again may help. Nothing is left behind then.
    """
    parsed = _parse(url)
    try:
        async with asyncio.timeout(timeout), _opened(client, parsed, headers or {}) as response:
            _check_answer(response, max_bytes)
            return await _save(response, to, max_bytes)
    except (httpx.TransportError, TimeoutError) as error:
        late = isinstance(error, TimeoutError | httpx.TimeoutException)
        why = "it did not answer in time" if late else "the connection failed"
        raise AssetUnavailable(f"the file at {parsed.host} could not be fetched: {why}", retryable=True) from error
    except UnicodeError as error:
        raise UnsafeUrl("the URL redirects to a host that cannot be read") from error


@asynccontextmanager
async def _opened(
    client: httpx.AsyncClient, url: httpx.URL, headers: Mapping[str, str]
) -> AsyncIterator[httpx.Response]:
    """Give the answer that the redirects lead to; its body is not read yet."""
    # Plain bytes: what is not compressed cannot unpack to more than was received.
    request = client.build_request("GET", url, headers={**headers, "Accept-Encoding": "identity"})
    for _ in range(_MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            following = response.next_request
            if following is None:
                yield response
                return
        finally:
            await response.aclose()
        if request.url.scheme == "https" != following.url.scheme:
            raise UnsafeUrl("the URL redirects from https to an unprotected address")
        if (following.url.host, following.url.port) != (url.host, url.port):
            for name in headers:
                following.headers.pop(name, None)
        request = following
    raise AssetUnavailable(f"the file at {url.host} is behind more than {_MAX_REDIRECTS} redirects", retryable=False)


def _check_answer(response: httpx.Response, max_bytes: int) -> None:
    host, status = response.url.host, response.status_code
    if not response.is_success:
        raise AssetUnavailable(
            f"{host} answered {status} when asked for the file", retryable=status in _TEMPORARY or status >= 500
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise AssetUnavailable(f"{host} sends the file compressed, although asked not to", retryable=False)
    if int(response.headers.get("Content-Length", 0)) > max_bytes:
        raise _too_large(response, max_bytes)


async def _save(response: httpx.Response, to: Path, max_bytes: int) -> int:
    size = 0
    try:
        with to.open("wb") as file:
            async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(response, max_bytes)
                await asyncio.to_thread(file.write, chunk)
    except BaseException:
        to.unlink(missing_ok=True)  # noqa: ASYNC240  # also when cancelled, where nothing may be awaited any more
        raise
    return size


def _too_large(response: httpx.Response, max_bytes: int) -> MediaRejected:
    return MediaRejected(
        f"the file at {response.url.host} is larger than the {max_bytes:,} bytes accepted; make it smaller",
        max_bytes=max_bytes,
    )
