"""Settings for commands that are a part of a deployment."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_settings import SettingsError

from genpulse.catalog import engine_models, load_catalog
from genpulse.errors import GenPulseError
from genpulse.settings import Settings


class BadSettings(GenPulseError, branch=True):
    """A GENPULSE_… variable has a value that cannot be used; said at the terminal only."""


def load_settings() -> Settings:
    """The settings of the environment. Raises BadSettings, naming each variable that is wrong, and BadPrice."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise BadSettings("; ".join(_sentence(one["loc"], one["msg"]) for one in error.errors())) from None
    except SettingsError as error:  # what should be JSON is none; the value may be a secret, and is not said
        raise BadSettings(f"GENPULSE_…: {error}") from None
    if settings.credits.prices:
        load_catalog(engine_models(settings.engine.models), settings.providers, settings.credits)
    return settings


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    if message.startswith("GENPULSE_"):  # ours, which name the variable themselves
        return message
    return f"GENPULSE_{'__'.join(str(part).upper() for part in location)}: {message}"
