"""Generation clouds, simulated at the wire: `genpulse simulate`, or an ASGI app in tests."""

from genpulse.simulator.app import create_simulator
from genpulse.simulator.clock import Clock, ManualClock
from genpulse.simulator.core import Settings, Simulator

__all__ = ["Clock", "ManualClock", "Settings", "Simulator", "create_simulator"]
