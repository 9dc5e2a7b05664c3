"""A real little DNS server on loopback, and a resolver that asks it: so that a name can answer otherwise each time."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Any

from genpulse.net import Address

_A, _AAAA, _IN = 1, 28, 1


@dataclass
class DnsServer:
    """What each name answers: a list of addresses for each time that it is asked; the last one stays."""

    port: int = 0
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Ask over the wire, as a resolver without a cache does: what has no time to live is asked for every time."""
        with suppress(ValueError):
            return [ip_address(host)]  # as resolvers do
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Client(reply), remote_addr=("127.0.0.1", self.port)
        )
        try:
            transport.sendto(_question(host))
            return _addresses(await asyncio.wait_for(reply, 10))
        finally:
            transport.close()

    def answer(self, query: bytes) -> bytes:
        end, host = _name_of(query)
        self.asked.append(host)
        answers = self.names[host]
        found = [ip_address(one) for one in (answers.pop(0) if len(answers) > 1 else answers[0])]
        head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0)
        return head + query[12:end] + b"".join(_record(one) for one in found)


class _Client(asyncio.DatagramProtocol):
    def __init__(self, reply: asyncio.Future[bytes]) -> None:
        self._reply = reply

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._reply.set_result(data)


class _Server(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._server.answer(data), addr)


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    server = DnsServer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Server(server), local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()


_numbers = itertools.count(1)


def _question(host: str) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in host.rstrip(".").split("."))
    head = struct.pack(">HHHHHH", next(_numbers) % 65536, 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">HH", _A, _IN)


def _name_of(message: bytes) -> tuple[int, str]:
    """The name that is asked for, and where the question ends."""
    position, labels = 12, []
    while length := message[position]:
        labels.append(message[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return position + 5, ".".join(labels)


def _record(address: Address) -> bytes:
    kind = _AAAA if isinstance(address, IPv6Address) else _A
    return struct.pack(">HHHIH", 0xC00C, kind, _IN, 0, len(address.packed)) + address.packed


def _addresses(message: bytes) -> list[Address]:
    position, _ = _name_of(message)
    found = []
    for _ in range(struct.unpack_from(">H", message, 6)[0]):
        (length,) = struct.unpack_from(">H", message, position + 10)
        found.append(ip_address(message[position + 12 : position + 12 + length]))
        position += 12 + length
    return found
