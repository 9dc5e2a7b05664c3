"""Signing with Ed25519 as RFC 8032 writes it down: slow, in variable time, good enough for a simulator's own key."""

from __future__ import annotations

from functools import cache
from hashlib import sha512

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P

Point = tuple[int, int, int, int]
"""Extended coordinates: x = X/Z, y = Y/Z, xy = T/Z."""

_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


@cache
def public_key(secret: bytes) -> bytes:
    return _packed(_times(_scalar(secret), _BASE))


def sign(secret: bytes, message: bytes) -> bytes:
    scalar, prefix = _scalar(secret), sha512(secret).digest()[32:]
    nonce = _number(prefix + message)
    commitment = _packed(_times(nonce, _BASE))
    challenge = _number(commitment + public_key(secret) + message)
    return commitment + ((nonce + challenge * scalar) % _ORDER).to_bytes(32, "little")


def _scalar(secret: bytes) -> int:
    number = int.from_bytes(sha512(secret).digest()[:32], "little")
    return number & (1 << 254) - 8 | 1 << 254


def _number(message: bytes) -> int:
    return int.from_bytes(sha512(message).digest(), "little") % _ORDER


def _sum(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _sum(result, point)
        point = _sum(point, point)
        scalar >>= 1
    return result


def _packed(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    return (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(32, "little")
