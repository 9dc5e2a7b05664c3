"""Volcengine: Seedream and Seedance on Ark, Jimeng on the Visual service. https://www.volcengine.com/docs/82379"""

from __future__ import annotations

from genpulse.providers.volcengine.client import Volcengine

__all__ = ["Volcengine"]
