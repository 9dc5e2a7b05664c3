# requires: volcengine==1.0.229 tencentcloud-sdk-python-common==3.1.195 cos-python-sdk-v5==1.9.44 bce-python-sdk==0.9.79
"""Signs requests with the clouds' own signers: reads them from standard input, writes their headers, both as JSON."""

import json
import sys
import time

from baidubce import utils
from baidubce.auth import bce_v1_signer
from baidubce.auth.bce_credentials import BceCredentials
from qcloud_cos import CosConfig
from qcloud_cos.cos_auth import CosS3Auth
from requests import Request
from tencentcloud.common import credential
from tencentcloud.common.abstract_client import AbstractClient
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from volcengine.auth.SignerV4 import SignerV4
from volcengine.base.Request import Request as VolcengineRequest
from volcengine.Credentials import Credentials

ACCESS_KEY, SECRET_KEY, NOW = sys.argv[1], sys.argv[2], int(sys.argv[3])


def volcengine(asked):
    request = VolcengineRequest()
    request.set_method(asked["method"])
    request.set_path(asked["path"])
    request.set_query(asked["query"])
    request.set_headers(asked["headers"] | {"Host": asked["host"]})
    request.set_body(asked["body"])
    SignerV4.sign(request, Credentials(ACCESS_KEY, SECRET_KEY, "cv", "cn-north-1"))
    return request.headers


def tencent(asked):
    profile = ClientProfile(httpProfile=HttpProfile(endpoint=asked["host"]))
    client = AbstractClient(credential.Credential(ACCESS_KEY, SECRET_KEY), "ap-guangzhou", profile)
    client._service = "vod"
    request = RequestInternal(asked["host"], asked["method"], "/")
    given = asked["query"] if asked["method"] == "GET" else json.loads(asked["body"])
    client._build_req_with_tc3_signature("DoThis", given, request)
    return request.header


def tencent_cos(asked):
    config = CosConfig(Region="ap-guangzhou", SecretId=ACCESS_KEY, SecretKey=SECRET_KEY)
    request = Request(asked["method"], f"https://{asked['host']}/").prepare()
    return dict(CosS3Auth(config, asked["path"], asked["query"])(request).headers)


def baidu(asked):
    named = asked["headers"] | {"host": asked["host"], "x-bce-date": utils.get_canonical_time(NOW).decode()}
    headers = {name.lower().encode(): value.encode() for name, value in named.items()}
    authorization = bce_v1_signer.sign(
        BceCredentials(ACCESS_KEY, SECRET_KEY),
        asked["method"].encode(),
        utils.normalize_string(asked["path"], False),
        headers,
        {name.encode(): value.encode() for name, value in asked["query"].items()},
        timestamp=NOW,
        headers_to_sign=sorted(headers),
    )
    return {"Authorization": authorization.decode()}


# All of them sign for now.
time.time = lambda: NOW
SignerV4.get_current_format_date = staticmethod(lambda: time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW)))
SIGNERS = {"volcengine": volcengine, "tencent": tencent, "tencent_cos": tencent_cos, "baidu": baidu}
json.dump([SIGNERS[asked["signer"]](asked) for asked in json.load(sys.stdin)], sys.stdout)
