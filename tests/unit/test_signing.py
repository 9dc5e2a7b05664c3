"""A link opens one path until one moment, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpulse.errors import Forbidden
from genpulse.signing import LinkSigner, SigningKey, link_expiry

OLD, NEW = SigningKey("k1", b"1" * 32), SigningKey("k2", b"2" * 32)
PATH = "/v1/assets/ast_0/content"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def query(signer: LinkSigner, path: str = PATH) -> dict[str, str]:
    return dict(parse_qsl(signer.sign(path, LATER), strict_parsing=True))


def test_a_signed_link_opens_until_just_before_its_expiry():
    signer = LinkSigner(NEW)
    signer.verify(PATH, query(signer), now=NOON)
    signer.verify(PATH, query(signer), now=LATER - timedelta(seconds=1))


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(days=400)])
def test_an_expired_link_says_so(late):
    signer = LinkSigner(NEW)
    with pytest.raises(Forbidden, match="has expired; ask for the asset again"):
        signer.verify(PATH, query(signer), now=LATER + late)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/v1/assets/ast_0/poster", {}),
        ("/v1/assets/ast_1/content", {}),
        (PATH + "/", {}),
        (PATH, {"expires": str(int(LATER.timestamp()) + 1)}),
        (PATH, {"expires": "99999999999999999999"}),
        (PATH, {"expires": "soon"}),
        (PATH, {"expires": ""}),
        (PATH, {"key": "k1"}),
        (PATH, {"key": "k3"}),
        (PATH, {"key": ""}),
        (PATH, {"signature": ""}),
        (PATH, {"signature": "0" * 64}),
        (PATH, {"signature": "é"}),
        (PATH, {"signature": "\ud800"}),
    ],
)
def test_no_part_of_a_link_can_be_changed(path, change):
    signer = LinkSigner(NEW, retired=(OLD,))
    with pytest.raises(Forbidden, match="signature is wrong"):
        signer.verify(path, query(signer) | change, now=NOON)


@pytest.mark.parametrize("missing", ["expires", "key", "signature"])
def test_no_part_of_a_link_can_be_left_out(missing):
    signer = LinkSigner(NEW)
    with pytest.raises(Forbidden, match="signature is wrong"):
        signer.verify(PATH, {name: value for name, value in query(signer).items() if name != missing}, now=NOON)


def test_a_changed_signature_of_an_expired_link_is_called_wrong_not_expired():
    signer = LinkSigner(NEW)
    with pytest.raises(Forbidden, match="signature is wrong"):
        signer.verify(PATH, query(signer) | {"signature": "0" * 64}, now=LATER)


def test_links_of_a_retired_key_stay_valid_and_new_ones_use_the_new_key():
    old_link = query(LinkSigner(OLD))
    signer = LinkSigner(NEW, retired=(OLD,))
    signer.verify(PATH, old_link, now=NOON)
    assert query(signer)["key"] == "k2"
    with pytest.raises(Forbidden, match="signature is wrong"):
        LinkSigner(NEW).verify(PATH, old_link, now=NOON)


def test_the_key_s_id_is_signed_too():
    twin = SigningKey("k3", NEW.secret)
    signer = LinkSigner(NEW, retired=(twin,))
    with pytest.raises(Forbidden, match="signature is wrong"):
        signer.verify(PATH, query(signer) | {"key": "k3"}, now=NOON)


def test_parts_cannot_be_shifted_into_one_another():
    signer = LinkSigner(NEW)
    link = query(signer, "7\n/x")
    with pytest.raises(Forbidden):
        signer.verify("/x", link | {"expires": link["expires"] + "\n7"}, now=NOON)


def test_the_same_moment_in_another_zone_gives_the_same_link():
    abroad = LATER.astimezone(timezone(timedelta(hours=9)))
    assert LinkSigner(NEW).sign(PATH, abroad) == LinkSigner(NEW).sign(PATH, LATER)


def test_a_short_key_is_refused_and_no_key_is_shown():
    with pytest.raises(ValueError, match="32 bytes or more"):
        SigningKey("k", b"x" * 31)
    assert "222" not in repr(NEW)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.integers(1, 10**6))  # noqa: DTZ001
def test_an_expiry_is_on_the_hour_and_not_before_the_lifetime(now, seconds):
    lifetime = timedelta(seconds=seconds)
    expiry = link_expiry(now, lifetime)
    assert expiry.timestamp() % 3600 == 0
    assert timedelta(0) <= expiry - (now + lifetime) < timedelta(hours=1)


def test_links_made_within_an_hour_are_equal():
    day = timedelta(days=1)
    assert link_expiry(NOON + timedelta(seconds=1), day) == link_expiry(NOON + timedelta(minutes=59), day)
    assert link_expiry(NOON, day) == NOON + day
