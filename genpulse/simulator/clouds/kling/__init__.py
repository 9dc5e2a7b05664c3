"""Kling: both generations of its API on one host."""

from __future__ import annotations

from genpulse.simulator.clouds.kling.cloud import Kling

__all__ = ["Kling"]
