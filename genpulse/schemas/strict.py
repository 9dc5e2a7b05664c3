"""The base of everything that callers send."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """An input: an unknown key is an error, not ignored; infinity and NaN are no JSON and no database takes them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
