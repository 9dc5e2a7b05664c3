# requires: tencentcloud-sdk-python-aiart==3.1.179 tencentcloud-sdk-python-tiia==3.1.69
"""Tencent's SDK has pictures made of pictures at aiart and tiia, and is refused in their words."""

import base64
import sys
import urllib.request
from urllib.parse import urlsplit

from tencentcloud.aiart.v20221229 import aiart_client
from tencentcloud.aiart.v20221229 import models as aiart
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.tiia.v20190529 import models as tiia
from tencentcloud.tiia.v20190529 import tiia_client

HOST = urlsplit(sys.argv[1]).netloc
KEYS = ("AKIDsim", "sim-tencent-secret")
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()


def client(kind, region="ap-guangzhou", keys=KEYS):
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=HOST))
    made = kind(Credential(*keys), region, profile)
    made._requestPath = "/tencent/"  # the SDK knows hosts only
    made.request._handle_host = lambda host: f"http://{host}/tencent/"
    return made


def asked(kind, **fields):
    request = kind()
    request._deserialize(fields)
    return request


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused(code, action):
    try:
        action()
    except TencentCloudSDKException as error:
        assert error.code == code, error
        assert error.requestId, error
        return
    raise AssertionError(f"it was accepted: {code} was expected")


at_aiart = client(aiart_client.AiartClient)
refined = at_aiart.RefineImage(asked(aiart.RefineImageRequest, InputImage=PIXEL, RspImgType="url"))
assert fetch(refined.ResultImage).startswith(b"\xff\xd8")
refined = at_aiart.RefineImage(asked(aiart.RefineImageRequest, InputImage=PIXEL))
assert base64.b64decode(refined.ResultImage).startswith(b"\xff\xd8")
outside = at_aiart.ImageOutpainting(asked(aiart.ImageOutpaintingRequest, InputImage=PIXEL, Ratio="16:9"))
assert outside.ResultImage
refused("MissingParameter", lambda: at_aiart.ImageOutpainting(asked(aiart.ImageOutpaintingRequest, InputImage=PIXEL)))
enhanced = client(tiia_client.TiiaClient).EnhanceImage(asked(tiia.EnhanceImageRequest, ImageBase64=PIXEL))
assert base64.b64decode(enhanced.EnhancedImage).startswith(b"\xff\xd8")
beach = at_aiart.ReplaceBackground(
    asked(
        aiart.ReplaceBackgroundRequest,
        ProductUrl="https://x.example/a.png",
        Prompt="a beach",
        Resolution="1280:720",
        RspImgType="url",
    )
)
assert fetch(beach.ResultImage).startswith(b"\xff\xd8")
print("pictures refined, continued, enhanced and before a beach")


stranger = client(aiart_client.AiartClient, keys=(KEYS[0], "wrong"))
request = asked(aiart.RefineImageRequest, InputImage=PIXEL)
refused("AuthFailure.SignatureFailure", lambda: stranger.RefineImage(request))
refused("MissingParameter", lambda: client(aiart_client.AiartClient, "").RefineImage(request))
print("a wrong key and a missing region")
