# requires: tencentcloud-sdk-python-vod==3.1.194 tencentcloud-sdk-python-vclm==3.1.127
"""Tencent's SDK makes videos and pictures at VOD and vclm, and is refused in their words."""

import base64
import sys
import time
import urllib.request
from urllib.parse import urlsplit

from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.vclm.v20240523 import models as vclm
from tencentcloud.vclm.v20240523 import vclm_client
from tencentcloud.vod.v20180717 import models as vod
from tencentcloud.vod.v20180717 import vod_client

HOST = urlsplit(sys.argv[1]).netloc
KEYS = ("AKIDsim", "sim-tencent-secret")
ACCOUNT = 1500000001
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


def until(ended, ask):
    seen = []
    for _ in range(200):
        answer = ask()
        if not seen or seen[-1] != answer.Status:
            seen.append(answer.Status)
        if answer.Status in ended:
            return answer, seen
        time.sleep(0.1)
    raise AssertionError(f"never ended: {seen}")


# VOD: no region
at_vod = client(vod_client.VodClient, "")
video = asked(
    vod.CreateAigcVideoTaskRequest,
    SubAppId=ACCOUNT,
    ModelName="Kling",
    ModelVersion="3.0",
    Prompt="a fox runs",
    FileInfos=[{"Type": "Base64", "Category": "Image", "Base64": PIXEL, "Usage": "FirstFrame"}],
    OutputConfig={"StorageMode": "Temporary", "Duration": 5, "Resolution": "1080P", "AudioGeneration": "Enabled"},
    SessionId="sdk-1",
)
created = at_vod.CreateAigcVideoTask(video)
detail = asked(vod.DescribeTaskDetailRequest, SubAppId=ACCOUNT, TaskId=created.TaskId)
done, seen = until({"FINISH"}, lambda: at_vod.DescribeTaskDetail(detail))
assert done.TaskType == "AigcVideoTask" and done.AigcVideoTask.ErrCode == 0, done
assert done.AigcVideoTask.Output.Usage.OutputSeconds == 5
assert fetch(done.AigcVideoTask.Output.FileInfos[0].FileUrl)[4:8] == b"ftyp"
print(f"a video by way of VOD after {seen}")

refused("FailedOperation.TaskDuplicate", lambda: at_vod.CreateAigcVideoTask(video))
listed = at_vod.DescribeTasks(asked(vod.DescribeTasksRequest, SubAppId=ACCOUNT, Limit=100)).TaskSet
assert [task.TaskId for task in listed if task.SessionId == "sdk-1"] == [created.TaskId]
print("the same SessionId was refused, and its task is in the list")

picture = asked(
    vod.CreateAigcImageTaskRequest,
    SubAppId=ACCOUNT,
    ModelName="OG",
    ModelVersion="image2_low",
    Prompt="a fox",
    OutputConfig={"OutputImageCount": 2, "Resolution": "2K", "AspectRatio": "3:2", "OutputFormat": "png"},
)
detail = asked(vod.DescribeTaskDetailRequest, SubAppId=ACCOUNT, TaskId=at_vod.CreateAigcImageTask(picture).TaskId)
done, _ = until({"FINISH"}, lambda: at_vod.DescribeTaskDetail(detail))
files = done.AigcImageTask.Output.FileInfos
assert len(files) == 2 and all(fetch(file.FileUrl).startswith(b"\x89PNG") for file in files)
print("two pictures by way of VOD")

# vclm
at_vclm = client(vclm_client.VclmClient)
submitted = at_vclm.SubmitTextToVideoJob(
    asked(vclm.SubmitTextToVideoJobRequest, Model="v3.0", Prompt="a fox", Duration="5", Sound="on")
)
query = asked(vclm.DescribeTextToVideoJobRequest, JobId=submitted.JobId)
done, seen = until({"DONE", "FAIL"}, lambda: at_vclm.DescribeTextToVideoJob(query))
assert done.Status == "DONE" and done.ErrorCode == "" and fetch(done.ResultVideoUrl)[4:8] == b"ftyp", done
print(f"a video of Kling after {seen}")

submitted = at_vclm.SubmitReferenceToVideoViduJob(
    asked(vclm.SubmitReferenceToVideoViduJobRequest, Model="viduq2", Prompt="a fox", Images=["https://x.example/a.png"])
)
query = asked(vclm.DescribeReferenceToVideoViduJobRequest, JobId=submitted.JobId)
done, _ = until({"DONE", "FAIL"}, lambda: at_vclm.DescribeReferenceToVideoViduJob(query))
assert done.Status == "DONE" and done.Credits == 4, done
print("a video of Vidu from references")

submitted = at_vclm.SubmitPortraitSingJob(
    asked(vclm.SubmitPortraitSingJobRequest, AudioUrl="https://x.example/a.wav", ImageBase64=PIXEL)
)
query = asked(vclm.DescribePortraitSingJobRequest, JobId=submitted.JobId)
for _ in range(200):
    done = at_vclm.DescribePortraitSingJob(query)
    if done.StatusCode == "DONE":
        break
    time.sleep(0.1)
assert fetch(done.ResultVideoUrl)[4:8] == b"ftyp"
print("a portrait sings")

unknown = asked(vclm.DescribeTextToVideoJobRequest, JobId="1")
refused("FailedOperation.JobNotExist", lambda: at_vclm.DescribeTextToVideoJob(unknown))
wrong = asked(vclm.SubmitTextToVideoJobRequest, Model="v3.0", Prompt="x" * 2501)
refused("InvalidParameterValue", lambda: at_vclm.SubmitTextToVideoJob(wrong))
refused("MissingParameter", lambda: client(vclm_client.VclmClient, "").DescribeTextToVideoJob(unknown))

# Keys
for code, keys in (
    ("AuthFailure.SignatureFailure", (KEYS[0], "wrong")),
    ("AuthFailure.SecretIdNotFound", ("wrong", KEYS[1])),
):
    stranger = client(vclm_client.VclmClient, keys=keys)
    refused(code, lambda stranger=stranger: stranger.DescribeTextToVideoJob(unknown))
    print(f"wrong keys: {code}")
