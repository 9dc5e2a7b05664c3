"""Hiding secrets in what is written down: by their names, by what they look like, and by what they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, SecretStr

HIDDEN = "[hidden]"

_NAMES = re.compile(
    r"authorization|cookie|password|secret|signature|token|(?:api|access|admin|signing|encryption)[_-]?key",
    re.IGNORECASE,
)
_LOOKS = re.compile(
    r"(?P<keep>\bBearer\s+|[?&]signature=|://[^\s:/@]*:(?=[^\s/@]+@))[^\s&@\"']+"
    r"|\b(?:gp_(?:live|test|admin)_|whsec_)[A-Za-z0-9+/=_-]+"
)
#: Shorter ones are no secrets: a region, the number of a project. Hiding them would make a log unreadable.
_LEAST = 8


class Redactor:
    """Knows the secrets of a process, and hides them wherever they turn up."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for one in secrets if len(one) >= _LEAST for form in (one, quote(one, safe=""))}
        # Longer ones first: one may be a part of another.
        known = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
        self._known = re.compile(known) if known else None

    def named(self, name: str, value: Any) -> Any:
        """A value that goes under a name, such as the field of a log line."""
        return HIDDEN if _NAMES.search(name) else self.clean(value)

    def clean(self, value: Any) -> Any:
        """The value without secrets; of what holds others, everything within."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {name: self.named(str(name), one) for name, one in value.items()}
            case list() | tuple():
                return [self.clean(one) for one in value]
            case _:
                return value

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _LOOKS.sub(lambda found: (found["keep"] or "") + HIDDEN, text)


def secrets_in(settings: BaseModel) -> Iterator[str]:
    """Every secret value of the settings, and the passwords within addresses."""
    for name in type(settings).model_fields:
        yield from _secrets(getattr(settings, name))


def _secrets(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            yield from secrets_in(value)
        case dict():
            for one in value.values():
                yield from _secrets(one)
        case list() | tuple():
            for one in value:
                yield from _secrets(one)
        case str() if "@" in value and "://" in value:
            if password := urlsplit(value).password:
                yield password
                yield unquote(password)
        case _:
            pass
