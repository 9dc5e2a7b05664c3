"""The base of everything that callers send, and values that are taken for what they are and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

_YEAR = re.compile(r"[0-9]{4}-")  # a number may have a dash too, before its exponent


def _written_out(given: Any) -> Any:
    if isinstance(given, int | float) or (isinstance(given, str) and not _YEAR.match(given)):
        raise PydanticCustomError("datetime_parsing", "a number is no instant")
    return given


def _in_utc(given: datetime) -> datetime:
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be an instant between the years 1 and 9999") from None


def _without_point(given: Any) -> Any:
    return int(given) if isinstance(given, float) and given.is_integer() else given


#: A point in time as the document describes it, in UTC, where the very first and last hours of the calendar are none. A
#: bare number could be seconds or milliseconds, and is refused.
Instant = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]

#: Numbers and truths as JSON has them: `"64"` is a text, `true` no number, and `64.0` the same as `64`.
Whole = Annotated[int, Field(strict=True), BeforeValidator(_without_point)]
Number = Annotated[float, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class Strict(BaseModel):
    """An input: an unknown key is an error, not ignored; infinity and NaN are no JSON and no database takes them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
