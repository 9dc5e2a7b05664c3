"""Where Vertex AI is, and how an account gets in: with a token for a project, or with an express key without one."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from genpulse.errors import ProviderAuthFailed
from genpulse.providers.base import Credentials

_STORAGE = "https://storage.googleapis.com/storage/v1/b"


@dataclass(frozen=True)
class Vertex:
    """One account there. With a `base_url` of one's own, such as a proxy's, all goes to that."""

    credentials: Credentials
    base_url: str | None

    @property
    def url(self) -> str:
        if self.base_url:
            return self.base_url
        location = self._location
        return f"https://{'' if location == 'global' else f'{location}-'}aiplatform.googleapis.com"

    @property
    def headers(self) -> dict[str, str]:
        """Replaces the header of the Gemini key. Raises ProviderAuthFailed where there is nothing to get in with."""
        if self.credentials.access_key:
            return {"Authorization": f"Bearer {self.credentials.access_key}"}
        key = self.credentials.secret_key or self.credentials.api_key
        if key:
            return {"x-goog-api-key": key}
        raise ProviderAuthFailed(
            "Veo and Imagen need a token (GENPULSE_PROVIDERS__GOOGLE__ACCESS_KEY) or an express key (…__API_KEY)."
        )

    def call(self, model: str, method: str) -> str:
        """The address of a method of one of Google's models."""
        return self.method(f"{self._place}publishers/google/models/{model}", method)

    def method(self, path: str, method: str) -> str:
        return f"{self.url}/v1beta1/{path}:{method}"

    @property
    def _location(self) -> str:
        return self.credentials.options.get("location", "global")

    @property
    def _place(self) -> str:
        """A token is good for a project, an express key belongs to one."""
        if not self.credentials.access_key:
            return ""
        project = self.credentials.options.get("project")
        if not project:
            raise ProviderAuthFailed(
                'An OAuth token is used for a project: set GENPULSE_PROVIDERS__GOOGLE__OPTIONS to {"project": "…"}.'
            )
        return f"projects/{project}/locations/{self._location}/"


def stored_at(uri: str) -> str:
    """Where the file of a `gs://` address is downloaded."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return f"{_STORAGE}/{bucket}/o/{quote(name, safe='')}?alt=media"
