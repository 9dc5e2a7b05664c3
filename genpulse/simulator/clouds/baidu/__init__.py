"""Baidu Cloud, simulated."""

from genpulse.simulator.clouds.baidu.cloud import Baidu

__all__ = ["Baidu"]
