"""Baidu Cloud: Qianfan (https://cloud.baidu.com/doc/qianfan-api), VOD AIGC (https://cloud.baidu.com/doc/VOD) and the
Open AI platform (https://ai.baidu.com/ai-doc).
"""

from genpulse.providers.baidu.client import Baidu

__all__ = ["Baidu"]
