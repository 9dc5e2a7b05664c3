"""The encryption of what Temporal keeps: sealed, told by its key, and readable after the key has changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from temporalio.api.common.v1 import Payload

from genpulse.codec import EncryptionCodec, PayloadKey, Undecodable
from genpulse.settings import Settings, TemporalSettings
from genpulse.temporal import DATA_CONVERTER, BriefFailures, HiddenFailures, data_converter

OLD, NEW = "the-former-key-of-32-characters-and-more", "the-present-key-of-32-characters-and-more"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"prompt": "a red kite"}')


def codec(key: str | None, *retired: str) -> EncryptionCodec:
    made = EncryptionCodec.of(
        TemporalSettings(
            encryption_key=SecretStr(key) if key else None, retired_keys=tuple(SecretStr(one) for one in retired)
        )
    )
    assert made is not None
    return made


@given(st.binary(max_size=2000), st.dictionaries(st.text(max_size=20), st.binary(max_size=50), max_size=3))
async def test_what_is_encoded_is_decoded_again(data: bytes, metadata: dict[str, bytes]) -> None:
    payload = Payload(data=data, metadata=metadata)
    [sealed] = await codec(OLD).encode([payload])
    assert await codec(OLD).decode([sealed]) == [payload]


async def test_nothing_of_it_can_be_read_and_no_two_are_equal() -> None:
    once, twice = await codec(OLD).encode([PLAIN, PLAIN])
    assert once.data != twice.data
    assert b"kite" not in once.SerializeToString() and b"json" not in once.SerializeToString()
    assert once.metadata["encoding"] == b"binary/encrypted"
    assert OLD.encode() not in once.SerializeToString()


async def test_a_retired_key_still_reads_and_no_longer_writes() -> None:
    [old] = await codec(OLD).encode([PLAIN])
    rotated = codec(NEW, OLD)
    [new] = await rotated.encode([PLAIN])
    assert await rotated.decode([old, new, PLAIN]) == [PLAIN, PLAIN, PLAIN]
    assert new.metadata["encryption-key-id"] == PayloadKey(NEW).id.encode()
    with pytest.raises(Undecodable):
        await codec(OLD).decode([new])


async def test_a_coming_key_can_be_told_first_so_that_no_process_meets_it_unprepared() -> None:
    [new] = await codec(NEW).encode([PLAIN])
    assert await codec(OLD, NEW).decode([new]) == [PLAIN]


async def test_without_a_key_of_its_own_it_only_reads() -> None:
    [old] = await codec(OLD).encode([PLAIN])
    reading = codec(None, OLD)
    assert await reading.encode([PLAIN]) == [PLAIN]
    assert await reading.decode([old]) == [PLAIN]


async def test_a_wrong_key_is_told_by_name() -> None:
    [old] = await codec(OLD).encode([PLAIN])
    with pytest.raises(Undecodable, match=f"key {PayloadKey(OLD).id}, which is neither GENPULSE_TEMPORAL__ENCRYPTION"):
        await codec(NEW).decode([old])
    foreign = Payload(metadata={"encoding": b"binary/encrypted"}, data=b"x")
    with pytest.raises(Undecodable, match="key of another codec"):
        await codec(NEW).decode([foreign])


@pytest.mark.parametrize("position", [0, 11, 12, 40, -1])
async def test_what_was_changed_is_not_opened(position: int) -> None:
    [sealed] = await codec(OLD).encode([PLAIN])
    data = bytearray(sealed.data)
    data[position] ^= 1
    with pytest.raises(Undecodable, match="damaged"):
        await codec(OLD).decode([Payload(metadata=sealed.metadata, data=bytes(data))])


@pytest.mark.parametrize("data", [b"", b"short", b"n" * 12, b"n" * 27])
async def test_what_was_cut_off_is_not_opened(data: bytes) -> None:
    [sealed] = await codec(OLD).encode([PLAIN])
    with pytest.raises(Undecodable, match="damaged"):
        await codec(OLD).decode([Payload(metadata=sealed.metadata, data=data)])


def test_the_converter_follows_the_settings() -> None:
    assert data_converter(TemporalSettings()) is DATA_CONVERTER
    key = SecretStr(OLD)
    assert data_converter(TemporalSettings(encryption_key=key)).failure_converter_class is HiddenFailures
    only_reads = data_converter(TemporalSettings(retired_keys=(key,)))
    assert only_reads.payload_codec is not None and only_reads.failure_converter_class is BriefFailures


@pytest.mark.parametrize(
    ("name", "value"),
    [("ENCRYPTION_KEY", "too-short"), ("RETIRED_KEYS", '["too-short"]'), ("RETIRED_KEYS", "too-short")],
)
def test_a_key_that_cannot_be_used_ends_the_start_and_is_not_printed(monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"GENPULSE_TEMPORAL__{name}", value)
    with pytest.raises(Exception, match=r"needs 32 characters|error parsing value") as caught:
        Settings()
    assert "too-short" not in str(caught.value)


def test_settings_do_not_show_secrets(monkeypatch) -> None:
    secret = "a-secret-that-must-not-be-seen-anywhere"
    given = {
        "DATABASE__URL": f"postgresql+asyncpg://me:{secret}@db/genpulse",
        "REDIS__URL": f"redis://:{secret}@redis/0",
        "TEMPORAL__API_KEY": secret,
        "TEMPORAL__ENCRYPTION_KEY": secret,
        "TEMPORAL__RETIRED_KEYS": f'["{secret}"]',
        "STORAGE__ACCESS_KEY": secret,
        "STORAGE__SECRET_KEY": secret,
        "SECURITY__ADMIN_KEY": secret,
        "SECURITY__SIGNING_KEY": secret,
        "PROVIDERS__BAIDU__API_KEY": secret,
        "PROVIDERS__BAIDU__ACCESS_KEY": secret,
        "PROVIDERS__BAIDU__SECRET_KEY": secret,
        "PROVIDERS__BAIDU__WEBHOOK_SECRET": secret,
        "PROVIDERS__BAIDU__OPTIONS": f'{{"app_secret": "{secret}"}}',
    }
    for name, value in given.items():
        monkeypatch.setenv(f"GENPULSE_{name}", value)
    settings = Settings()
    assert secret not in f"{settings!r} {settings}"
    monkeypatch.setenv("GENPULSE_DATABASE__POOL_SIZE", "none")
    monkeypatch.setenv("GENPULSE_SECURITY__LINK_LIFETIME", secret)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert secret not in str(caught.value)
