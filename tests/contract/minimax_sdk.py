# requires: minimax-mcp==0.0.19
"""MiniMax' own tools for assistants make a video, pictures, speech and voices, list voices and are refused.

There is no SDK in Python; these tools know the first generation of the API and answer with sentences.
"""

import os
import re
import sys
import time
import urllib.request
from pathlib import Path

os.environ |= {
    "MINIMAX_API_KEY": "sk-api-sim-key",
    "MINIMAX_API_HOST": f"{sys.argv[1]}/minimax",
    "MINIMAX_API_RESOURCE_MODE": "url",
}

# It reads the environment when it is imported.
from minimax_mcp import server


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def links(answer):
    assert answer.text.startswith("Success"), answer.text
    return re.findall(r"http://[^\s']+", answer.text)


submitted = server.generate_video(prompt="a fox runs", duration=6, resolution="768P", async_mode=True)
task = re.search(r"Task ID: (\d+)", submitted.text)[1]
answers = [server.query_video_generation(task)]
while "still processing" in answers[-1].text:
    time.sleep(0.3)
    answers.append(server.query_video_generation(task))
assert len(answers) > 1, answers
[link] = links(answers[-1])
assert fetch(link)[4:8] == b"ftyp"
print(f"a video after {len(answers)} queries")

pictures = [fetch(link) for link in links(server.text_to_image(prompt="a fox", n=2, aspect_ratio="16:9"))]
assert len(pictures) == 2 and all(picture.startswith(b"\xff\xd8\xff") for picture in pictures)
print("two pictures")

[link] = links(server.text_to_audio("A quick brown fox.", voice_id="male-qn-qingse", emotion="happy"))
speech = fetch(link)
assert speech.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3")), speech[:4]
assert "male-qn-qingse" in server.list_voices().text
print(f"speech of {len(speech)} bytes")

Path("sample.mp3").write_bytes(speech)
[link] = links(server.voice_clone("Fox-voice-1", "sample.mp3", "Good evening."))
assert fetch(link).startswith((b"ID3", b"\xff\xfb", b"\xff\xf3"))
taken = server.voice_clone("Fox-voice-1", "sample.mp3", "Good evening.").text
assert "API Error: 2039" in taken, taken
assert "Fox-voice-1" not in server.list_voices("voice_cloning").text
links(server.text_to_audio("Good night.", voice_id="Fox-voice-1", emotion="happy"))
assert "Fox-voice-1" in server.list_voices("voice_cloning").text
designed = server.voice_design("a calm old man", "Good evening.").text
voice, sound = re.search(r"Voice ID generated: (\S+), Trial Audio: ([0-9a-f]+)", designed).groups()
assert bytes.fromhex(sound).startswith((b"ID3", b"\xff\xfb", b"\xff\xf3"))
print(f"a cloned voice, used and listed, and a designed one: {voice}")

refused = server.text_to_image(prompt="a fox", aspect_ratio="5:1").text
assert "API Error: 2013" in refused, refused
unknown = server.query_video_generation("1").text
assert "API Error: 2013" in unknown, unknown

server.api_client = type(server.api_client)("wrong", server.api_host)
wrong = server.text_to_image(prompt="a fox").text
assert "login fail" in wrong and "please check your API key" in wrong, wrong
print(f"a wrong key: {wrong}")
