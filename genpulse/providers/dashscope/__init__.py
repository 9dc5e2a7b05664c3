"""Alibaba Model Studio (DashScope): the wan and qwen families. https://help.aliyun.com/zh/model-studio"""

from genpulse.providers.dashscope.client import Dashscope

__all__ = ["Dashscope"]
