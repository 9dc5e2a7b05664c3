"""The clouds that are simulated; a new one is a file here and a line below."""

from __future__ import annotations

from genpulse.simulator.clouds.baidu import Baidu
from genpulse.simulator.clouds.bfl import Bfl
from genpulse.simulator.clouds.comfyui import Comfyui
from genpulse.simulator.clouds.dashscope import Dashscope
from genpulse.simulator.clouds.fal import Fal
from genpulse.simulator.clouds.google import Google
from genpulse.simulator.clouds.kling import Kling
from genpulse.simulator.clouds.luma import Luma
from genpulse.simulator.clouds.minimax import Minimax
from genpulse.simulator.clouds.openai import Openai
from genpulse.simulator.clouds.replicate import Replicate
from genpulse.simulator.clouds.runway import Runway
from genpulse.simulator.clouds.stability import Stability
from genpulse.simulator.clouds.tencent import Tencent
from genpulse.simulator.clouds.vidu import Vidu
from genpulse.simulator.clouds.volcengine import Volcengine
from genpulse.simulator.core import Cloud

CLOUDS: tuple[type[Cloud], ...] = (
    Baidu,
    Bfl,
    Comfyui,
    Dashscope,
    Fal,
    Google,
    Kling,
    Luma,
    Minimax,
    Openai,
    Replicate,
    Runway,
    Stability,
    Tencent,
    Vidu,
    Volcengine,
)
