"""Tencent Cloud, simulated."""

from __future__ import annotations

from genpulse.simulator.clouds.tencent.cloud import Tencent

__all__ = ["Tencent"]
