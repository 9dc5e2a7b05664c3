# requires: baidu-aip==4.16.13 chardet==5.2.0
"""The Open AI platform's SDK has pictures made larger and clearer, with tokens and signed, and is refused."""

import base64
import struct
import sys
import time
import zlib

from aip import AipImageProcess
from aip.base import AipBase

URL = f"{sys.argv[1]}/baidu"
PREFIX = "https://aip.baidubce.com"

for kind in (AipBase, AipImageProcess):  # it knows its hosts only
    for name, value in list(vars(kind).items()):
        if isinstance(value, str) and value.startswith(PREFIX):
            setattr(kind, name, URL + value.removeprefix(PREFIX))


def png(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURE = png(64, 48)


def made(answer):
    assert base64.b64decode(answer["image"]).startswith(b"\xff\xd8"), answer
    assert answer["log_id"], answer


def refused(code, answer):
    assert answer["error_code"] == code and answer["error_msg"], answer
    print(f"refused: {code} {answer['error_msg']}")


client = AipImageProcess("1", "sim-app-key", "sim-app-secret")
made(client.imageQualityEnhance(PICTURE))
assert client._isCloudUser is False, "the token has the scope that is looked for"
made(client.imageDefinitionEnhance(PICTURE))
for act in (client.dehaze, client.contrastEnhance, client.colourize, client.stretchRestore, client.removeMoireV1):
    made(act(PICTURE))
made(client.denoiseV1(PICTURE, 50))
print("a picture made larger, and seven made clearer")

client._authObj = {"access_token": "24.stale", "expires_in": 2592000, "time": int(time.time())}
made(client.imageQualityEnhance(PICTURE))
assert client._authObj["access_token"] != "24.stale"
print("a token that was refused was replaced")

refused(216201, client.imageQualityEnhance(b"no picture"))
refused(216202, client.imageQualityEnhance(png(2001, 1)))

signing = AipImageProcess("1", "ALTAKsim", "sim-baidu-secret")
signing._isCloudUser = True
made(signing.imageQualityEnhance(PICTURE))
print("signed")
signing = AipImageProcess("1", "ALTAKsim", "wrong")
signing._isCloudUser = True
refused(14, signing.imageQualityEnhance(PICTURE))

stranger = AipImageProcess("1", "sim-app-key", "wrong")
refused(14, stranger.imageQualityEnhance(PICTURE))  # without a token it signs, with the application's pair
