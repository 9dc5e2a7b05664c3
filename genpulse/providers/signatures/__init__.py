"""Proving who asks: signatures on requests to clouds, and on the callbacks they send. Pure, without I/O."""

from __future__ import annotations

from genpulse.providers.signatures.baidu import BaiduSigner
from genpulse.providers.signatures.base import BearerKey, SignedAuth, Signer, Verifier
from genpulse.providers.signatures.bfl import BflWebhookVerifier
from genpulse.providers.signatures.fal import FalWebhookVerifier
from genpulse.providers.signatures.kling import KlingSigner
from genpulse.providers.signatures.standard_webhooks import StandardWebhookVerifier
from genpulse.providers.signatures.tencent import TencentSigner
from genpulse.providers.signatures.tencent_cos import TencentCosSigner
from genpulse.providers.signatures.volcengine import VolcengineSigner

__all__ = [
    "BaiduSigner",
    "BearerKey",
    "BflWebhookVerifier",
    "FalWebhookVerifier",
    "KlingSigner",
    "SignedAuth",
    "Signer",
    "StandardWebhookVerifier",
    "TencentCosSigner",
    "TencentSigner",
    "Verifier",
    "VolcengineSigner",
]
