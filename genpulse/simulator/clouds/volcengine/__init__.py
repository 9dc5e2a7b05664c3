"""Volcengine: Ark and Visual."""

from __future__ import annotations

from genpulse.simulator.clouds.volcengine.cloud import Volcengine

__all__ = ["Volcengine"]
