# requires: cos-python-sdk-v5==1.9.44
"""The SDK of Tencent's object storage puts a picture into a bucket, has it enlarged and cleaned, and is refused."""

import sys
from urllib.parse import urlsplit

from qcloud_cos import CosConfig, CosS3Client, CosServiceError
from qcloud_cos.ai_recognition import AIRecognitionClient

HOST = urlsplit(sys.argv[1]).netloc
BUCKET = "sim-1250000000"


def config(key="AKIDsim", secret="sim-tencent-secret"):
    # The SDK knows hosts only: it does not sign the path that stands behind this one.
    return CosConfig(
        Region="ap-guangzhou", SecretId=key, SecretKey=secret, Domain=f"{HOST}/tencent", Scheme="http", Timeout=10
    )


def refused(code, status, action):
    try:
        action()
    except CosServiceError as error:
        assert (error.get_error_code(), error.get_status_code()) == (code, status), error
        print(f"refused: {code}")
        return
    raise AssertionError(f"it was accepted: {code} was expected")


def body(answer):
    return answer["Body"].get_raw_stream().read()


client = CosS3Client(config(), retry=0)
enlarged = body(client.ci_super_resolution_process(Bucket=BUCKET, Url="http://x.example/a b.jpg?c=d&e=f"))
assert enlarged.startswith(b"\xff\xd8")
print("a picture enlarged from its address")

client.put_object(Bucket=BUCKET, Body=enlarged, Key="folder/demo.jpeg", ContentType="image/jpeg")
assert body(client.get_object(Bucket=BUCKET, Key="folder/demo.jpeg")) == enlarged
assert body(client.ci_super_resolution_process(Bucket=BUCKET, Key="folder/demo.jpeg")).startswith(b"\xff\xd8")
print("a picture enlarged from the bucket")

enhancer = AIRecognitionClient(config())
# It returns no file: it knows the header of the content type by one spelling only, and this server uses another.
headers, _ = enhancer.cos_ai_enhance_image(Bucket=BUCKET, ObjectKey="folder/demo.jpeg", Denoise=5)
assert headers["content-type"] == "image/jpeg" and int(headers["content-length"]) > 100, headers
print("a picture cleaned")

client.delete_object(Bucket=BUCKET, Key="folder/demo.jpeg")
refused("NoSuchKey", 404, lambda: client.ci_super_resolution_process(Bucket=BUCKET, Key="folder/demo.jpeg"))
client.put_object(Bucket=BUCKET, Body=b"no picture", Key="demo.txt")
refused("InvalidImageFormat", 400, lambda: client.ci_super_resolution_process(Bucket=BUCKET, Key="demo.txt"))
for code, keys in (("SignatureDoesNotMatch", ("AKIDsim", "wrong")), ("InvalidAccessKeyId", ("wrong", "x"))):
    stranger = CosS3Client(config(*keys), retry=0)
    refused(code, 403, lambda stranger=stranger: stranger.ci_super_resolution_process(Bucket=BUCKET, Key="demo.txt"))
