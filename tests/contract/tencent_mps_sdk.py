# requires: tencentcloud-sdk-python-mps==3.1.194
"""Tencent's SDK has a picture enlarged as a task of MPS, and is refused in its words."""

import sys
import time
import urllib.request
from urllib.parse import urlsplit

from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.mps.v20190612 import models as mps
from tencentcloud.mps.v20190612 import mps_client

HOST = urlsplit(sys.argv[1]).netloc
KEYS = ("AKIDsim", "sim-tencent-secret")


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


at_mps = client(mps_client.MpsClient)
larger = {
    "InputInfo": {"Type": "URL", "UrlInputInfo": {"Url": "https://x.example/a.png"}},
    "OutputStorage": {"Type": "COS", "CosOutputStorage": {"Bucket": "sim-1250000000", "Region": "ap-guangzhou"}},
    "OutputDir": "/made/",
    "ImageTask": {"EnhanceConfig": {"AdvancedSuperResolutionConfig": {"Type": "super", "Percent": 1.5}}},
}
task = at_mps.ProcessImage(asked(mps.ProcessImageRequest, **larger)).TaskId
query = asked(mps.DescribeImageTaskDetailRequest, TaskId=task)
for _ in range(200):
    done = at_mps.DescribeImageTaskDetail(query)
    if done.Status == "FINISH":
        break
    time.sleep(0.1)
(result,) = done.ImageProcessTaskResultSet
assert (result.Status, result.ErrMsg, result.Progress) == ("SUCCESS", "", 100), result
assert fetch(result.Output.SignedUrl).startswith(b"\xff\xd8")
print("a picture enlarged as a task")
del larger["OutputStorage"]
refused("InvalidParameterValue", lambda: at_mps.ProcessImage(asked(mps.ProcessImageRequest, **larger)))
unknown = asked(mps.DescribeImageTaskDetailRequest, TaskId="1")
refused("ResourceNotFound", lambda: at_mps.DescribeImageTaskDetail(unknown))

stranger = client(mps_client.MpsClient, keys=(KEYS[0], "wrong"))
refused("AuthFailure.SignatureFailure", lambda: stranger.DescribeImageTaskDetail(query))
print("a wrong key")
