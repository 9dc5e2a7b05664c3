"""Signatures are those that the clouds' own signers make of the same requests."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import pytest
from pydantic import SecretStr

from genpulse.providers.signatures import BaiduSigner, Signer, TencentCosSigner, TencentSigner, VolcengineSigner
from tests.contract.environments import environment, requirements

PROGRAM = Path(__file__).with_name("official_signers.py")
NOW = datetime.fromtimestamp(1760000000, UTC)
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", SecretStr("SECRETEXAMPLE")
SIGNERS: dict[str, Signer] = {
    "volcengine": VolcengineSigner(access_key=ACCESS_KEY, secret_key=SECRET_KEY),
    "tencent": TencentSigner(secret_id=ACCESS_KEY, secret_key=SECRET_KEY, service="vod"),
    "tencent_cos": TencentCosSigner(secret_id=ACCESS_KEY, secret_key=SECRET_KEY),
    "baidu": BaiduSigner(access_key=ACCESS_KEY, secret_key=SECRET_KEY),
}
#: Letters, and what must be encoded, must not be, or is encoded in another way somewhere.
_CHARACTERS = "abXY09-_~ +&=%:;,@!*'()$é一"
_EACH = 50


@dataclass(frozen=True)
class Asked:
    """A request as the program takes it."""

    signer: str
    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str

    def request(self) -> httpx.Request:
        # Tencent signs the query as it is sent, and its client sends it as a form.
        query = urlencode(self.query, quote_via=quote) if self.signer != "tencent" else urlencode(self.query)
        url = f"https://{self.host}{quote(self.path)}" + (f"?{query}" if query else "")
        return httpx.Request(self.method, url, headers=self.headers, content=self.body)


def _some(signer: str, choice: random.Random) -> Iterator[Asked]:
    def text(least: int) -> str:
        return "".join(choice.choices(_CHARACTERS, k=choice.randint(least, 8)))

    for number in range(_EACH):
        method = "GET" if signer == "tencent_cos" else choice.choice(["GET", "POST"])
        posted = method == "POST"
        whole = signer != "tencent"  # it has one path, and a query only with GET
        # Names that differ even after they are encoded and put into lower case.
        query = {f"{index}{text(0)}": text(0) for index in range(choice.randint(0, 3))}
        yield Asked(
            signer=signer,
            method=method,
            host=f"host-{number}.example" + choice.choice(["", ":8080"]) * (signer != "tencent_cos"),
            path="/" + "/".join(text(1) for _ in range(choice.randint(0, 2))) if whole else "/",
            query=query if whole or not posted else {},
            headers={"Content-Type": "application/json"} if posted else {},
            body=json.dumps({text(1): text(1)}) if posted else "",
        )


def _official(asked: list[Asked], home: Path) -> list[str]:
    """What the program signs these with."""
    program = [str(environment(requirements(PROGRAM))), "-I", str(PROGRAM)]
    ran = subprocess.run(
        [*program, ACCESS_KEY, SECRET_KEY.get_secret_value(), str(int(NOW.timestamp()))],
        input=json.dumps([asdict(one) for one in asked]),
        env={"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [headers["Authorization"] for headers in json.loads(ran.stdout)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("signer", SIGNERS)
def test_signatures_are_those_of_the_cloud_s_own_signer(signer: str, tmp_path: Path) -> None:
    asked = list(_some(signer, random.Random(8)))
    ours = [SIGNERS[signer].sign(one.request(), now=NOW)["Authorization"] for one in asked]
    assert len(set(ours)) == _EACH
    for one, mine, theirs in zip(asked, ours, _official(asked, tmp_path), strict=True):
        assert mine == theirs, one
