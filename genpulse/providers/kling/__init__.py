"""Kling of Kuaishou: both generations of its API."""

from __future__ import annotations

from genpulse.providers.kling.client import Kling

__all__ = ["Kling"]
