"""Small files that mean to become large, or to be something else than a picture, a video or a sound."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from av.video.stream import VideoStream
from PIL import Image

MANY = 400_000_000


def bombs() -> dict[str, bytes]:
    """Each has less than 100,000 bytes."""
    made = _pictures() | _videos() | _strangers()
    assert {name: len(content) for name, content in made.items() if len(content) >= 100_000} == {}
    return made


# Pictures -------------------------------------------------------------------------------------------------------------


def _pictures() -> dict[str, bytes]:
    return {
        "png of 50,000 by 50,000": _png(50_000, 50_000, zlib.compress(bytes(10_000))),
        "png of 2^31 by 2^31": _png(2**31 - 1, 2**31 - 1, zlib.compress(b"")),
        "png that really is 12,000 by 12,000": _png(12_000, 12_000, zlib.compress(bytes(12_000 * 1501), 9)),
        "png with packed text": _png(
            8, 8, zlib.compress(bytes(16)), (b"zTXt", b"a\0\0" + zlib.compress(bytes(9 * 2**20), 9))
        ),
        "png with a packed profile": _png(
            8, 8, zlib.compress(bytes(16)), (b"iCCP", b"a\0\0" + zlib.compress(bytes(50 * 2**20), 9))
        ),
        "png with much packed text": _png(
            8, 8, zlib.compress(bytes(16)), *[(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000), 9))] * 70
        ),
        "png that says to move": _png(8, 8, zlib.compress(bytes(16)), (b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        "png with a chunk of 2 GB": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31 - 1) + b"IHDR" + bytes(100),
        "gif of 65,535 by 65,535": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\x80\0\0" + bytes(6) + b";",
        "gif of 1,000 frames": _animation(),
        "jpeg of 65,500 by 65,500": _jpeg(65_500),
        "webp of 16,383 by 16,383": _webp(16_383),
        "webp that only says so": _webp_header(16_777_216),
    }


def _png(width: int, height: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), *more, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _animation() -> bytes:
    frames = [Image.new("RGB", (4, 4), (number % 256, number // 256, 0)) for number in range(1000)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=20)
    return file.getvalue()


def _jpeg(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    content = bytearray(file.getvalue())
    struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, side, side)
    return bytes(content)


def _webp(side: int) -> bytes:
    """Lossless, of one colour: the size is 14 bits each, behind the signature byte."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "WEBP", lossless=True)
    content = bytearray(file.getvalue())
    at = content.find(b"VP8L") + 9
    bits = int.from_bytes(content[at : at + 4], "little") & ~(2**28 - 1)
    content[at : at + 4] = (bits | (side - 1) | (side - 1) << 14).to_bytes(4, "little")
    return bytes(content)


def _webp_header(side: int) -> bytes:
    canvas = b"\x02\0\0\0" + (side - 1).to_bytes(3, "little") * 2
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


# Videos ---------------------------------------------------------------------------------------------------------------


def endless_rows() -> bytes:
    """Unpacks to fifty megabytes, of which the picture is the first sixteen bytes: harmless, if one stops there."""
    return _png(8, 8, zlib.compress(bytes(50_000_000), 9))


def video(codec: str = "mpeg4", form: str = "mp4", pixels: str = "yuv420p", **options: str) -> bytes:
    """Ten small frames."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        with av.open(str(path), "w", format=form, options=options) as container:
            stream: VideoStream = container.add_stream(codec, rate=25)  # type: ignore[assignment]  # by its codec
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            for number in range(10):
                frame = av.VideoFrame(64, 48, pixels)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def _videos() -> dict[str, bytes]:
    plain, pictures = video(), video("png", "mov", "rgb24")
    fragments = video(movflags="frag_keyframe+empty_moov+default_base_moof")
    return {
        "mp4 of 50,000,000 samples": _counting(plain, 50_000_000),
        "mp4 of 400,000,000 samples": _counting(plain, MANY),
        "mp4 of 2^32 samples": _counting(plain, 2**32 - 1),
        "mp4 with its table where none belongs": plain + _box(b"udta", _box(b"stsz", struct.pack(">III", 0, 1, MANY))),
        "mp4 with its table behind an endless box": plain
        + struct.pack(">I", 0)
        + b"uuid"
        + b"stsz"
        + struct.pack(">III", 0, 1, MANY),
        "mp4 with its table in a long box": plain
        + struct.pack(">I4sQ", 1, b"moov", 36)
        + _box(b"stsz", struct.pack(">III", 0, 1, MANY)),
        "mp4 with a fragment of 400,000,000 samples": _long_fragment(fragments),
        "mp4 with a packed table of contents": plain
        + _box(b"moov", _box(b"cmov", zlib.compress(bytes(50 * 2**20), 9))),
        "mp4 that is sound as far as one looks": _counting(plain, MANY).replace(b"vide", b"soun"),
        "mov of frames of 12,000 by 12,000": _grown(pictures, 12_000),
        "mov of frames of 30,000 by 30,000": _grown(pictures, 30_000),
        "mp4 of boxes in boxes": _nested(4000),
        "mp4 of empty boxes": plain[:32] + _box(b"abcd", b"") * 9000,
    }


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _counting(content: bytes, count: int) -> bytes:
    """Says to hold so many samples, in as many bytes as before."""
    made = bytearray(content)
    struct.pack_into(">II", made, made.find(b"stsz") + 8, 1, count)
    struct.pack_into(">IIII", made, made.find(b"stsc") + 8, 1, 1, count, 1)
    struct.pack_into(">III", made, made.find(b"stts") + 8, 1, count, 2)
    return bytes(made)


def _long_fragment(content: bytes) -> bytes:
    made = bytearray(content)
    at = made.find(b"trun")
    struct.pack_into(">II", made, at + 4, 0x000001, MANY)  # nothing is said of each, so that none takes a byte
    return bytes(made)


def _grown(content: bytes, side: int) -> bytes:
    """Its frames are PNG files, which say another size than the table of contents."""
    made, at = bytearray(content), 0
    while (at := made.find(b"IHDR", at)) >= 0:
        struct.pack_into(">II", made, at + 4, side, side)
        struct.pack_into(">I", made, at + 17, zlib.crc32(bytes(made[at : at + 17])))
        at += 4
    return bytes(made)


def _nested(depth: int) -> bytes:
    made = b""
    for _ in range(depth):
        made = _box(b"moov", made)
    return _box(b"ftyp", b"isom\0\0\0\0") + made


# Strangers ------------------------------------------------------------------------------------------------------------


def _strangers() -> dict[str, bytes]:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    svg = f'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY l0 "ha">{laughs}]><svg xmlns="http://www.w3.org/2000/svg">&l9;</svg>'
    tiff = b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 256, 4, 1, 60_000) + struct.pack("<HHII", 257, 4, 1, 60_000)
    return {
        "svg that laughs": svg.encode(),
        "svg that fetches": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://169.254.169.254/"/></svg>',
        "svg in gzip": gzip.compress(svg.encode()),
        "tiff of 60,000 by 60,000": tiff + bytes(100),
        "zip of 50 MB": _zip(),
        "gzip of 50 MB": gzip.compress(bytes(50 * 2**20)),
        "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "list of files": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "session description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 10.0.0.1\nm=video 22 RTP/AVP 96\n",
        "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
        "html": b"<!doctype html><script>alert(1)</script>",
        "xml with a file": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "matroska": bytes.fromhex("1a45dfa3") + b"\x8b\x42\x82\x88matroska" + bytes(50),
        "program": b"\x7fELF" + bytes(100),
        "nothing but zeros": bytes(10_000),
    }


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("../../etc/passwd", bytes(50 * 2**20))
    return file.getvalue()
