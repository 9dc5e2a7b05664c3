"""Secrets in logs and spans are hidden by name, by look, and because they are known."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from pydantic import SecretStr

from genpulse import telemetry
from genpulse.redaction import HIDDEN, Redactor, secrets_in
from genpulse.settings import (
    DatabaseSettings,
    ProviderSettings,
    RedisSettings,
    SecuritySettings,
    Settings,
    StorageSettings,
    TelemetrySettings,
    TemporalSettings,
)

KEY = "an/unusual+secret=value"


def test_a_known_secret_is_hidden_wherever_it_turns_up() -> None:
    redactor = Redactor([KEY, KEY[:12], "short"])
    told = {
        "event": f"got {KEY}",
        "list": [f"<{KEY}>", {"deep": (KEY,)}],
        "number": 3,
        "quoted": "an%2Funusual%2Bsecret%3Dvalue",
    }
    assert redactor.clean(told) == {
        "event": f"got {HIDDEN}",
        "list": [f"<{HIDDEN}>", {"deep": [HIDDEN]}],
        "number": 3,
        "quoted": HIDDEN,
    }
    assert redactor.text("short") == "short", "or else a region would make the log unreadable"


@pytest.mark.parametrize(
    "name",
    ["Authorization", "x-api-key", "api_key", "access_key", "encryption_key", "Set-Cookie", "password", "a_token"],
)
def test_what_goes_under_a_telling_name_is_hidden_unseen(name: str) -> None:
    assert Redactor().named(name, ["anything"]) == HIDDEN


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer abc.def", "Bearer [hidden]"),
        ("postgresql://me:pass@host/db", "postgresql://me:[hidden]@host/db"),
        ("redis://:pass@host/0", "redis://:[hidden]@host/0"),
        ("/v1/assets/x?expires=1&signature=abc&key=1", "/v1/assets/x?expires=1&signature=[hidden]&key=1"),
        ("gp_live_abcDEF123", "[hidden]"),
        ("http://127.0.0.1:8000/path", "http://127.0.0.1:8000/path"),
        ("nothing of note", "nothing of note"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


def test_every_secret_of_the_settings_is_known() -> None:
    settings = Settings(
        database=DatabaseSettings(url="postgresql+asyncpg://me:of%20the%20database@host/name"),
        redis=RedisSettings(url="redis://:of-redis@host/0"),
        temporal=TemporalSettings(
            api_key=SecretStr("of-temporal"),
            encryption_key=SecretStr("of-the-payloads-" + "x" * 32),
            retired_keys=(SecretStr("of-former-payloads-" + "x" * 32),),
        ),
        storage=StorageSettings(access_key=SecretStr("of-s3"), secret_key=SecretStr("of-s3-too")),
        security=SecuritySettings(
            admin_key=SecretStr("of-the-admin-" + "x" * 32), signing_key=SecretStr("of-links-" + "x" * 32)
        ),
        providers={
            "fal": ProviderSettings(
                api_key=SecretStr("of-fal"),
                access_key=SecretStr("of-fal-1"),
                secret_key=SecretStr("of-fal-2"),
                webhook_secret=SecretStr("of-fal-3"),
                options={"app_secret": SecretStr("of-fal-4")},
            )
        },
    )
    known = set(secrets_in(settings))
    assert len(known) == 15
    assert {one.partition("-")[0] for one in known} == {"of", "of%20the%20database", "of the database"}


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_log_line_shows_one_not_even_in_the_trace_of_an_exception(
    log_format: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    admin_key = "a-key-that-has-32-characters-or-more"
    settings = Settings(
        security=SecuritySettings(admin_key=SecretStr(admin_key)),
        telemetry=TelemetrySettings(log_level="debug", log_format=log_format),
    )
    telemetry.configure(settings, service="test")
    try:
        raise RuntimeError(f"it was {admin_key}")
    except RuntimeError:
        structlog.get_logger("ours").exception("ours.failed", given=admin_key)
        logging.getLogger("theirs").exception("with %s", admin_key)
        logging.getLogger("theirs").debug("at length: %s", admin_key)
    text = capsys.readouterr().err
    assert "RuntimeError" in text and "ours.failed" in text and "at length" in text
    assert admin_key not in text


def test_no_span_shows_one() -> None:
    exported: list[ReadableSpan] = []

    class Kept(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            exported.extend(spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(telemetry._CleanExporter(Kept(), Redactor([KEY]))))
    with suppress(RuntimeError), provider.get_tracer("test").start_as_current_span(f"do {KEY}") as span:
        span.set_attribute("http.url", f"https://cloud.example/?signature=abc&k={KEY}")
        span.set_attribute("authorization", "anything")
        span.set_attribute("size", 3)
        span.add_event("sent", {"key": KEY})
        raise RuntimeError(f"the key {KEY} is wrong")
    [one] = exported
    assert KEY not in one.to_json() and "signature=abc" not in one.to_json() and "anything" not in one.to_json()
    assert (one.name, one.attributes["size"]) == (f"do {HIDDEN}", 3)  # type: ignore[index]
    assert [event.name for event in one.events] == ["sent", "exception"]
    assert one.status.description == f"RuntimeError: the key {HIDDEN} is wrong"
    assert one.start_time and one.end_time and one.context.span_id == span.get_span_context().span_id
