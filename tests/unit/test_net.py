"""What a caller's URL may reach, and how it is fetched. The local servers here are real; nothing leaves the machine."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpulse import net
from genpulse.errors import AssetUnavailable, MediaRejected, UnsafeUrl
from genpulse.net import Address, AddressGuard, Resolve, download, http_client, is_allowed, resolve_host

# -------------------------------------------------------------------------------------------------------- addresses

PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "::1",
    "fc00::1",
    "fdff::1",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.192",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "11.0.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "2a00:1450::1", "2003::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_reached_only_where_allowed(address):
    assert not is_allowed(ip_address(address), allow_private=False)
    assert is_allowed(ip_address(address), allow_private=True)


@pytest.mark.parametrize("allow_private", [False, True])
@pytest.mark.parametrize("address", NEVER)
def test_metadata_transition_and_reserved_addresses_are_never_reached(address, allow_private):
    assert not is_allowed(ip_address(address), allow_private=allow_private)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address):
    assert is_allowed(ip_address(address), allow_private=False)


@given(st.ip_addresses())
def test_nothing_is_reached_that_the_standard_library_knows_as_special(address):
    # One way only: its is_global lets pass several transition and multicast addresses, and differs between versions.
    special = (
        not address.is_global
        or address.is_multicast
        or (isinstance(address, IPv6Address) and (address.ipv4_mapped or address.sixtofour or address.teredo))
    )
    assert not (special and is_allowed(address, allow_private=False))


# ------------------------------------------------------------------------------------------------------------- URLs

HOSTILE = [
    ("", "cannot be read|only http"),
    ("example.com/x", "only http and https"),
    ("//example.com/x", "only http and https"),
    ("ftp://example.com/x", "only http and https"),
    ("file:///etc/passwd", "only http and https"),
    ("gopher://example.com/x", "only http and https"),
    ("data:image/png;base64,AAAA", "only http and https"),
    ("http://", "neither a name nor an address|only http"),
    ("http:///x", "neither a name nor an address|only http"),
    ("http://user@example.com/", "user name or password"),
    ("http://user:pass@example.com/", "user name or password"),
    ("http://example.com\\@127.0.0.1/", "user name or password"),
    ("http://a b/", "neither a name nor an address"),
    ("http://a..b/", "neither a name nor an address"),
    ("http://ex%61mple.com/", "neither a name nor an address"),
    ("http://" + "a" * 64 + ".com/", "neither a name nor an address"),
    ("http://" + "a." * 130 + "com/", "neither a name nor an address"),
    ("http://[::1", "cannot be read"),
    ("http://xn--/", "cannot be read"),
    ("http://①②⑦.0.0.1/", "cannot be read"),
    ("http://127。0。0。1/", "private, local or reserved"),
    ("http://[fe80::1%25eth0]/", "neither a name nor an address"),
    ("http://[fe80::1%eth0]/", "neither a name nor an address"),
    ("http://[1::2::3]/", "neither a name nor an address|cannot be read"),
    ("http://2130706433/", "four decimal numbers"),
    ("http://017700000001/", "four decimal numbers"),
    ("http://0x7f000001/", "four decimal numbers"),
    ("http://0x/", "four decimal numbers"),
    ("http://0x7f.1/", "four decimal numbers"),
    ("http://0177.0.0.1/", "cannot be read"),
    ("http://0177.1/", "four decimal numbers"),
    ("http://127.1/", "four decimal numbers"),
    ("http://127.0.0.1./", "four decimal numbers"),
    ("http://1.2.3.4.5/", "four decimal numbers"),
    ("http://256.1.1.1/", "cannot be read"),
    ("http://example.0x7f/", "four decimal numbers"),
    ("http://8.8.8.8.0x1/", "four decimal numbers"),
    ("http://127.0.0.1/", "private, local or reserved"),
    ("http://169.254.169.254/latest/meta-data/", "private, local or reserved"),
    ("http://0.0.0.0/", "private, local or reserved"),
    ("http://[::1]/", "private, local or reserved"),
    ("http://[::]/", "private, local or reserved"),
    ("http://[::ffff:127.0.0.1]/", "private, local or reserved"),
    ("http://[::ffff:7f00:1]/", "private, local or reserved"),
    ("http://[64:ff9b::7f00:1]/", "private, local or reserved"),
    ("http://example.com:22/", "port 22 belongs to another protocol"),
    ("http://example.com:25/", "port 25 belongs"),
    ("http://example.com:0/", "port 0 belongs"),
    ("http://example.com:1023/", "port 1023 belongs"),
    ("http://example.com:65536/", "port 65536 belongs"),
]


@pytest.mark.parametrize(("url", "why"), HOSTILE)
async def test_a_hostile_url_is_refused_before_the_network_is_asked(url, why, tmp_path):
    with pytest.raises(UnsafeUrl, match=why):
        AddressGuard().check_url(url)
    async with http_client(resolve=nobody) as client:
        with pytest.raises(UnsafeUrl, match=why):
            await download(client, url, tmp_path / "file", max_bytes=10, timeout=5)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com:443/a?b=c#d",
        "https://example.com:1024/",
        "http://example.com:65535/",
        "http://EXAMPLE.com./",
        "http://a_b.example/",
        "http://bücher.example/",
        "http://8.8.8.8/",
        "http://[2606:4700::1]:8080/",
        "http://1and1.com/",
        "http://4chan.0x.org/",
    ],
)
def test_an_ordinary_url_passes(url):
    AddressGuard().check_url(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://127.0.0.1:8188/", "http://[::1]/"])
def test_private_urls_pass_where_allowed(url):
    AddressGuard(allow_private=True).check_url(url)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://127.1/", "http://127.0.0.1:22/", "http://u@10.0.0.1/"]
)
def test_allowing_private_addresses_allows_nothing_else(url):
    with pytest.raises(UnsafeUrl):
        AddressGuard(allow_private=True).check_url(url)


# ------------------------------------------------------------------------------------------------------- resolution


async def nobody(host: str, port: int) -> list[Address]:
    raise AssertionError(f"{host}:{port} must not be resolved")


def names(**table: str) -> Resolve:
    """A resolver that knows these names; addresses are separated by blanks."""

    async def resolve(host: str, port: int) -> list[Address]:
        return [ip_address(address) for address in table[host.partition(".")[0]].split()]

    return resolve


@pytest.mark.parametrize("found", ["127.0.0.1", "8.8.8.8 10.0.0.1", "10.0.0.1 8.8.8.8", "::ffff:8.8.8.8", "fe80::1%1"])
async def test_a_name_with_any_address_that_is_not_public_is_refused(found, tmp_path):
    async with http_client(resolve=names(inside=found)) as client:
        with pytest.raises(UnsafeUrl, match="private, local or reserved") as caught:
            await download(client, "https://inside.example/x", tmp_path / "file", max_bytes=10, timeout=5)
    assert not set(found.split()) & set(caught.value.message.split())  # addresses of inner names stay unsaid


async def test_the_guard_stands_before_every_request_of_the_client():
    async with http_client(resolve=names(inside="10.0.0.1")) as client:
        for url in ("http://inside.example/", "http://10.0.0.1/"):
            with pytest.raises(UnsafeUrl):
                await client.post(url)


async def test_the_system_s_resolver_is_asked_for_real():
    assert ip_address("127.0.0.1") in await resolve_host("localhost", 80)


async def test_a_name_that_does_not_resolve_is_unavailable(tmp_path):
    async def unknown(host: str, port: int) -> list[Address]:
        raise OSError("unknown name")

    async def empty(host: str, port: int) -> list[Address]:
        return []

    for resolve in (unknown, empty):
        async with http_client(resolve=resolve) as client:
            with pytest.raises(AssetUnavailable, match="connection failed") as caught:
                await download(client, "http://x.example/", tmp_path / "file", max_bytes=10, timeout=5)
        assert caught.value.retryable is True


async def test_a_resolver_that_hangs_counts_as_connecting(monkeypatch, tmp_path):
    async def hang(host: str, port: int) -> list[Address]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(net, "_TIMEOUTS", httpx.Timeout(5, connect=0.05))
    async with http_client(resolve=hang) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("http://x.example/")


# ------------------------------------------------------------------------------------------------- a server to fetch

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer, address: str = "127.0.0.1") -> AsyncIterator[int]:
    """A local server that hands each request's head to `answer`; gives its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.read(65536)) and not writer.is_closing():
                await answer(head, writer)
        except ConnectionError:
            pass  # the client went away, as some tests want it to
        finally:
            writer.close()

    server = await asyncio.start_server(talk, address, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def saying(body: bytes = b"", status: str = "200 OK", headers: str = "", length: int | None = None) -> Answer:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        size = len(body) if length is None else length
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body)
        await writer.drain()

    return answer


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client that may reach local servers, by the names `media` and `other` too."""
    async with http_client(allow_private=True, resolve=names(media="127.0.0.1", other="127.0.0.1")) as opened:
        yield opened


@pytest.fixture
def fetch(client, tmp_path) -> Callable[..., Awaitable[bytes]]:
    async def run(url: str, max_bytes: int = 10**7, timeout: float = 10) -> bytes:  # noqa: ASYNC109
        path = tmp_path / "file"
        path.unlink(missing_ok=True)
        try:
            size = await download(client, url, path, max_bytes=max_bytes, timeout=timeout)
        except BaseException:
            assert not path.exists(), "a failed download leaves nothing behind"
            raise
        content = path.read_bytes()
        assert size == len(content)
        return content

    return run


async def test_a_file_is_fetched(fetch):
    body = bytes(range(256)) * 10_000
    async with serving(saying(body)) as port:
        assert await fetch(f"http://media.example:{port}/x") == body


async def test_the_connection_goes_to_the_judged_address_under_the_url_s_name(client, fetch):
    heads, asked = [], []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        await saying(b"ok")(head, writer)

    async def rebinding(host: str, port: int) -> list[Address]:
        asked.append(host)
        return [ip_address("127.0.0.1" if len(asked) == 1 else "169.254.169.254")]

    async with serving(answer) as port, http_client(allow_private=True, resolve=rebinding) as guarded:
        assert (await guarded.get(f"http://media.example:{port}/x?y=1")).text == "ok"
    assert asked == ["media.example"]
    assert heads[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert f"\r\nHost: media.example:{port}\r\n".encode() in heads[0]


async def test_the_connection_goes_to_no_other_address(tmp_path):
    async with (
        serving(saying(b"ok"), "127.0.0.3") as port,
        http_client(allow_private=True, resolve=names(media="127.0.0.3", other="127.0.0.1")) as client,
    ):
        assert await download(client, f"http://media.example:{port}/", tmp_path / "f", max_bytes=9, timeout=5) == 2
        with pytest.raises(AssetUnavailable):
            await download(client, f"http://other.example:{port}/", tmp_path / "f", max_bytes=9, timeout=5)


async def test_tls_is_asked_for_the_url_s_name(fetch):
    hellos = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        hellos.append(head)
        writer.close()

    async with serving(answer) as port:
        with pytest.raises(AssetUnavailable, match="connection failed"):
            await fetch(f"https://media.example:{port}/x")
    assert hellos[0][:1] == b"\x16"  # a TLS handshake
    assert b"media.example" in hellos[0]  # its server name


async def test_the_next_address_is_tried_when_one_does_not_answer(tmp_path):
    async with (
        serving(saying(b"ok")) as port,
        http_client(allow_private=True, resolve=names(media="127.0.0.2 127.0.0.1")) as client,
    ):
        assert await download(client, f"http://media.example:{port}/", tmp_path / "f", max_bytes=9, timeout=5) == 2


async def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch, tmp_path):
    connect = httpcore.AnyIOBackend.connect_tcp

    async def swallow(backend, host: str, port: int, timeout: float, **options):  # noqa: ASYNC109
        if host == "127.0.0.2":
            await asyncio.sleep(timeout)
            raise httpcore.ConnectTimeout
        return await connect(backend, host, port, timeout, **options)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", swallow)
    monkeypatch.setattr(net, "_TIMEOUTS", httpx.Timeout(5, connect=0.4))
    resolve = names(media="127.0.0.2 127.0.0.1")
    async with serving(saying(b"ok")) as port, http_client(allow_private=True, resolve=resolve) as client:
        assert await download(client, f"http://media.example:{port}/", tmp_path / "f", max_bytes=9, timeout=5) == 2


async def test_a_host_that_refuses_is_unavailable_for_now(fetch):
    async with serving(saying()) as port:
        pass
    with pytest.raises(AssetUnavailable, match=r"media\.example could not be fetched: the connection failed") as caught:
        await fetch(f"http://media.example:{port}/")
    assert caught.value.retryable is True


async def test_a_trusted_host_is_reached_at_its_port_only(tmp_path):
    async with serving(saying(b"ok")) as port, serving(saying(b"secret")) as other:
        trusted = f"http://127.0.0.1:{port}/base"
        async with http_client(trusted_urls=[trusted, ""]) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/x")).text == "ok"
            for url in (f"http://127.0.0.1:{other}/", f"http://localhost:{port}/", f"http://u@127.0.0.1:{port}/"):
                with pytest.raises(UnsafeUrl):
                    await client.get(url)


async def test_trust_is_for_one_port_of_one_host_both_before_and_after_resolving():
    guard = AddressGuard(trusted=frozenset({("comfy", 8188), ("127.0.0.1", 8188)}))
    guard.check_url("http://127.0.0.1:8188/")
    with pytest.raises(UnsafeUrl):
        guard.check_url("http://127.0.0.1:8189/")
    resolve = names(comfy="10.0.0.1")
    assert await guard.addresses("comfy", 8188, resolve) == [ip_address("10.0.0.1")]
    with pytest.raises(UnsafeUrl):
        await guard.addresses("comfy", 8189, resolve)


async def test_the_environment_s_proxy_is_ignored(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with serving(saying(b"ok")) as port, http_client(allow_private=True) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).text == "ok"


async def test_no_cookie_is_kept(client):
    async with serving(saying(b"ok", headers="Set-Cookie: a=b; Path=/\r\n")) as port:
        await client.get(f"http://media.example:{port}/")
    assert not client.cookies


# -------------------------------------------------------------------------------------------------------- redirects


def redirecting(*targets: str, body: bytes = b"there") -> Answer:
    """Answer with a redirect to the first target, then to the second …, at last with the body."""
    left = list(targets)

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        if left:
            location = left.pop(0)
            await saying(b"moved", "302 Found", f"Location: {location}\r\n")(head, writer)
        else:
            await saying(body)(head, writer)

    return answer


async def test_redirects_are_followed(fetch):
    async with serving(redirecting("/a", "b", "/c", "/d", "/e")) as port:
        assert await fetch(f"http://media.example:{port}/") == b"there"


async def test_a_sixth_redirect_is_too_many(fetch):
    async with serving(redirecting("/a", "/b", "/c", "/d", "/e", "/f")) as port:
        with pytest.raises(AssetUnavailable, match="more than 5 redirects") as caught:
            await fetch(f"http://media.example:{port}/")
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/",
        "http://127.1/",
        "http://inside.example/",
        "file:///etc/passwd",
        "http://user:pass@media.example/",
        "//[::ffff:127.0.0.1]/",
        "http://xn--/",
    ],
)
async def test_each_redirect_is_judged(target, tmp_path):
    resolve = names(media="127.0.0.1", inside="169.254.169.254")
    async with serving(redirecting("/ok", target)) as port, http_client(allow_private=True, resolve=resolve) as client:
        with pytest.raises(UnsafeUrl):
            await download(client, f"http://media.example:{port}/", tmp_path / "f", max_bytes=9, timeout=5)


async def test_a_redirect_from_a_trusted_host_is_judged_like_any_other(tmp_path):
    async with serving(saying(b"secret")) as inner, serving(redirecting(f"http://127.0.0.1:{inner}/")) as port:
        url = f"http://127.0.0.1:{port}/"
        async with http_client(trusted_urls=[url]) as client:
            with pytest.raises(UnsafeUrl):
                await download(client, url, tmp_path / "f", max_bytes=9, timeout=5)


def mocked(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler))


async def test_a_redirect_never_leaves_https(tmp_path):
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(301, headers={"Location": "http://media.example/"})

    async with mocked(answer) as client:
        with pytest.raises(UnsafeUrl, match="from https to an unprotected address"):
            await download(client, "https://media.example/", tmp_path / "f", max_bytes=9, timeout=5)


async def test_a_redirect_may_enter_https(tmp_path):
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "https":
            return httpx.Response(200, content=b"ok")
        return httpx.Response(301, headers={"Location": "https://media.example/"})

    async with mocked(answer) as client:
        assert await download(client, "http://media.example/", tmp_path / "f", max_bytes=9, timeout=5) == 2


# ----------------------------------------------------------------------------------------------------- size and time


@pytest.mark.parametrize("headers", ["", "Transfer-Encoding: chunked\r\n"])
async def test_a_file_of_the_largest_size_is_accepted_and_a_larger_one_not(fetch, headers):
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        if headers:
            writer.write(b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")
        else:
            await saying(b"x" * 100)(head, writer)

    async with serving(answer) as port:
        assert len(await fetch(f"http://media.example:{port}/", max_bytes=100)) == 100
        with pytest.raises(MediaRejected, match="larger than the 99 bytes accepted; make it smaller") as caught:
            await fetch(f"http://media.example:{port}/", max_bytes=99)
    assert caught.value.details == {"max_bytes": 99}


async def test_a_stated_length_over_the_limit_is_refused_before_the_body_comes(fetch):
    async with serving(saying(b"", length=10**9)) as port:
        with pytest.raises(MediaRejected, match="larger than"):
            await fetch(f"http://media.example:{port}/", timeout=2)


async def test_an_endless_body_is_cut_at_the_limit(fetch):
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(answer) as port:
        with pytest.raises(MediaRejected, match="larger than"):
            await fetch(f"http://media.example:{port}/", max_bytes=2**20)


async def test_a_trickle_that_keeps_every_read_alive_ends_at_the_total_time(fetch):
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(answer) as port:
        with pytest.raises(AssetUnavailable, match="did not answer in time") as caught:
            await fetch(f"http://media.example:{port}/", timeout=0.2)
    assert caught.value.retryable is True


async def test_a_server_that_stays_silent_is_given_up(monkeypatch, tmp_path):
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(net, "_TIMEOUTS", httpx.Timeout(0.05))
    async with serving(answer) as port, http_client(allow_private=True) as client:
        with pytest.raises(AssetUnavailable, match="did not answer in time"):
            await download(client, f"http://127.0.0.1:{port}/", tmp_path / "f", max_bytes=9, timeout=60)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxxxx", b"nonsense\r\n\r\n"])
async def test_an_answer_that_breaks_off_is_unavailable_for_now(fetch, start):
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        writer.close()

    async with serving(answer) as port:
        with pytest.raises(AssetUnavailable, match="the connection failed") as caught:
            await fetch(f"http://media.example:{port}/")
    assert caught.value.retryable is True


@pytest.mark.parametrize(
    ("status", "temporary"),
    [
        *((status, False) for status in (304, 400, 403, 404, 410)),
        *((status, True) for status in (408, 425, 429, 500, 503)),
    ],
)
async def test_an_error_answer_is_unavailable_and_says_whether_it_may_pass(fetch, status, temporary):
    async with serving(saying(b"", f"{status} Because")) as port:
        with pytest.raises(AssetUnavailable, match=rf"media\.example answered {status}") as caught:
            await fetch(f"http://media.example:{port}/secret?token=1")
    assert caught.value.retryable is temporary
    assert "token" not in caught.value.message


async def test_no_compression_is_asked_for_and_none_accepted(fetch):
    heads = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head.lower())
        await saying(gzip.compress(b"0" * 10**6), headers="Content-Encoding: gzip\r\n")(head, writer)

    async with serving(answer) as port:
        with pytest.raises(AssetUnavailable, match="compressed, although asked not to") as caught:
            await fetch(f"http://media.example:{port}/")
    assert b"\r\naccept-encoding: identity\r\n" in heads[0]
    assert caught.value.retryable is False


async def test_a_cancelled_download_leaves_nothing_behind(client, tmp_path):
    begun = asyncio.Event()

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 * 2**20))
        await writer.drain()
        begun.set()
        await asyncio.sleep(60)

    async with serving(answer) as port:
        task = asyncio.create_task(
            download(client, f"http://media.example:{port}/", tmp_path / "f", max_bytes=10**8, timeout=60)
        )
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert list(tmp_path.iterdir()) == []
