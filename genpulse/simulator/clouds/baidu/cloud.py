"""Baidu Cloud: three platforms with hosts of their own, here behind one."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from genpulse.simulator.clouds.baidu.area import Area
from genpulse.simulator.clouds.baidu.platform import Platform
from genpulse.simulator.clouds.baidu.qianfan import Qianfan
from genpulse.simulator.clouds.baidu.vod import Vod
from genpulse.simulator.core import Cloud, Simulator
from genpulse.simulator.credentials import BAIDU
from genpulse.simulator.wire import Call, Refusal, Route


class Baidu(Cloud):
    name = "baidu"
    credentials = BAIDU
    media_lifetime = 24 * 3600

    def __init__(self, world: Simulator) -> None:
        super().__init__(world)
        self._areas: tuple[Area, ...] = (Vod(self), Platform(self), Qianfan(self))

    def routes(self) -> Sequence[Route]:
        return [route for area in self._areas for route in area.routes()]

    def authenticate(self, call: Call) -> None:
        self._area(call).authenticate(call)

    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        return self._area(call).invalid(call, error)

    def not_found(self, call: Call) -> Refusal:
        return self._area(call).not_found(call)

    def throttled(self, call: Call) -> Refusal:
        return self._area(call).throttled(call)

    def broken(self, call: Call, status: int) -> Refusal:
        return self._area(call).broken(call, status)

    def _area(self, call: Call) -> Area:
        """The last one has all that is no other's."""
        return next(area for area in self._areas if call.inner_path.startswith(area.prefixes))
