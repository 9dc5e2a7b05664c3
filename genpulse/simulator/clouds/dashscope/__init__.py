"""Alibaba DashScope: tasks of the wan and qwen families, models that answer at once, temporary uploads."""

from __future__ import annotations

from genpulse.simulator.clouds.dashscope.cloud import Dashscope

__all__ = ["Dashscope"]
