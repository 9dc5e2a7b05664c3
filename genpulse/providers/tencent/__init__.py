"""Tencent Cloud: VOD AIGC, vclm, aiart and tiia behind API 3.0, TokenHub, and image processing in COS.

https://cloud.tencent.com/document/product/266, /1616, /1668, /865, /1823 and /460
"""

from genpulse.providers.tencent.client import Tencent

__all__ = ["Tencent"]
