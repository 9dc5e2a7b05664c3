"""The table of bad addresses in docs/security.md, tried in every way in which somebody could name one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from genpulse import net
from genpulse.errors import AssetUnavailable, UnsafeUrl
from genpulse.net import Address, AddressGuard, download, http_client
from tests.servers.dns import DnsServer, dns_server
from tests.servers.files import FileServer, file_server

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")


def _table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = TEXT.partition(f"### {heading}\n")[2].partition("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


ROWS = [(cells[0].strip("`"), cells[1]) for cells in _table("Addresses that are refused")]
ADDRESSES = [address for address, _ in ROWS]
PRIVATE = [address for address, refused in ROWS if refused == "private"]
SPELLINGS = [cells[0].strip("`") for cells in _table("Ways to write them that are refused")]


def url_of(address: str, rest: str = "/") -> str:
    return f"http://[{address}]{rest}" if ":" in address else f"http://{address}{rest}"


def test_the_table_is_read_whole() -> None:
    assert len(ROWS) > 40 and len(SPELLINGS) >= 20
    assert {refused for _, refused in ROWS} == {"private", "always"}
    assert len(set(ADDRESSES)) == len(ADDRESSES)


def test_every_network_that_is_refused_is_in_the_table() -> None:
    listed = [ip_address(address) for address in ADDRESSES]
    for network in (*net._PRIVATE, *net._METADATA, *net._RESERVED):
        assert any(address in network for address in listed), f"{network} has no row in docs/security.md"


# As it is written -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("rest", ["/", ":8080/x?y=1", ":443/"])
async def test_an_address_in_a_url_is_refused(address: str, rest: str, tmp_path: Path) -> None:
    for url in (url_of(address, rest), url_of(address, rest).replace("http://", "https://")):
        with pytest.raises(UnsafeUrl, match="private, local or reserved"):
            AddressGuard().check_url(url)
        async with http_client(resolve=nobody) as client:
            with pytest.raises(UnsafeUrl):
                await download(client, url, tmp_path / "file", max_bytes=10, timeout=5)
            with pytest.raises(UnsafeUrl):
                await client.post(url, content=b"a webhook")


@pytest.mark.parametrize(("address", "refused"), ROWS)
def test_allowing_private_addresses_allows_those_rows_alone(address: str, refused: str) -> None:
    guard = AddressGuard(allow_private=True)
    if refused == "private":
        guard.check_url(url_of(address))
    else:
        with pytest.raises(UnsafeUrl):
            guard.check_url(url_of(address))


@pytest.mark.parametrize("url", SPELLINGS)
@pytest.mark.parametrize("allow_private", [False, True])
async def test_a_way_to_write_it_is_refused(url: str, allow_private: bool, tmp_path: Path) -> None:
    if allow_private and "127。0。0。1" in url:
        return  # which is 127.0.0.1 to every reader, and that is allowed then
    async with http_client(allow_private=allow_private, resolve=nobody) as client:
        with pytest.raises(UnsafeUrl):
            await download(client, url, tmp_path / "file", max_bytes=10, timeout=5)


async def nobody(host: str, port: int) -> list[Address]:
    raise AssertionError(f"{host}:{port} must not be resolved")


# Behind a name --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_name_that_has_it_is_refused(dns: DnsServer, address: str, tmp_path: Path) -> None:
    for found in ([address], ["8.8.8.8", address], [address, "8.8.8.8"]):
        dns.names["inside.example"] = [found]
        async with http_client(resolve=dns.resolve) as client:
            with pytest.raises(UnsafeUrl, match="private, local or reserved") as caught:
                await download(client, "http://inside.example/", tmp_path / "file", max_bytes=10, timeout=5)
        assert address not in caught.value.message


# Behind a redirect ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def public() -> AsyncIterator[FileServer]:
    """A server that may be reached: by its address, as a trusted one may."""
    async with file_server() as server:
        yield server


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_redirect_to_it_is_refused(public: FileServer, dns: DnsServer, address: str, tmp_path: Path) -> None:
    dns.names["inside.example"] = [[address]]
    async with http_client(trusted_urls=[public.url], resolve=dns.resolve) as client:
        for target in (url_of(address), "http://inside.example/"):
            public.redirects["/file"] = target
            with pytest.raises(UnsafeUrl, match="private, local or reserved"):
                await download(client, f"{public.url}/file", tmp_path / "file", max_bytes=10, timeout=5)
    assert {one.path for one in public.seen} == {"/file"}


@pytest.mark.parametrize("url", [url for url in SPELLINGS if url.isascii() and "\\" not in url])
async def test_a_redirect_written_that_way_is_refused(
    public: FileServer, dns: DnsServer, url: str, tmp_path: Path
) -> None:
    public.redirects["/file"] = url
    async with http_client(trusted_urls=[public.url], resolve=dns.resolve) as client:
        with pytest.raises((UnsafeUrl, AssetUnavailable)):  # or no client can read where it leads
            await download(client, f"{public.url}/file", tmp_path / "file", max_bytes=10, timeout=5)
    assert [one.path for one in public.seen] == ["/file"]


# Rebinding ------------------------------------------------------------------------------------------------------------

ELSEWHERE = "8.8.8.8"


@pytest.fixture
def internet(public: FileServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The way to the one public address of these tests ends at the local server; tells where connections went."""
    connect, went = httpcore.AnyIOBackend.connect_tcp, []

    async def route(backend: httpcore.AnyIOBackend, host: str, port: int, *rest: Any, **named: Any) -> Any:
        went.append(host)
        reached = (public.host, public.port) if host == ELSEWHERE else (host, port)
        return await connect(backend, *reached, *rest, **named)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", route)
    return went


async def test_a_name_that_answers_otherwise_later_gains_nothing(
    public: FileServer, dns: DnsServer, internet: list[str], tmp_path: Path
) -> None:
    """Public when it is judged, ours a moment later: the connection is to what was judged, and nobody asks again."""
    async with file_server() as ours:
        dns.names["rebinding.example"] = [[ELSEWHERE], ["127.0.0.1"]]
        public.files["/file"], ours.files["/file"] = b"public", b"secret"
        async with http_client(resolve=dns.resolve) as client:
            path = tmp_path / "file"
            await download(client, f"http://rebinding.example:{ours.port}/file", path, max_bytes=10, timeout=5)
        assert path.read_bytes() == b"public"
        assert (internet, dns.asked, ours.seen) == ([ELSEWHERE], ["rebinding.example"], [])
        assert public.seen[0].headers["host"] == f"rebinding.example:{ours.port}"


@pytest.mark.parametrize("private", [*PRIVATE, "169.254.169.254", "::ffff:127.0.0.1"])
async def test_every_further_connection_is_judged_anew(
    public: FileServer, dns: DnsServer, internet: list[str], private: str, tmp_path: Path
) -> None:
    """It redirects to itself, and has moved by then."""
    dns.names["rebinding.example"] = [[ELSEWHERE], [private]]
    public.redirects["/file"] = "http://rebinding.example:8080/secret"
    async with http_client(resolve=dns.resolve) as client:
        with pytest.raises(UnsafeUrl, match="private, local or reserved"):
            await download(client, "http://rebinding.example/file", tmp_path / "file", max_bytes=10, timeout=5)
    assert internet == [ELSEWHERE]
    assert len(dns.asked) == 2


async def test_a_name_that_adds_an_address_later_is_refused_then(
    public: FileServer, dns: DnsServer, internet: list[str]
) -> None:
    dns.names["rebinding.example"] = [[ELSEWHERE], [ELSEWHERE, "10.0.0.1"]]
    public.answers["/"] = {}
    async with http_client(resolve=dns.resolve) as client:
        assert (await client.post("http://rebinding.example/", json={})).status_code == httpx.codes.OK
        with pytest.raises(UnsafeUrl):
            await client.post("http://rebinding.example/", json={})
    assert internet == [ELSEWHERE]


async def test_the_dns_server_answers_both_kinds(dns: DnsServer) -> None:
    dns.names["both.example"] = [["8.8.8.8", "2606:4700::1"]]
    assert await dns.resolve("both.example", 80) == [ip_address("8.8.8.8"), IPv6Address("2606:4700::1")]
