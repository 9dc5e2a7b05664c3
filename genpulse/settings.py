"""Settings, read from `GENPULSE_…` once at the edge (command, worker, create_app) and handed down."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from genpulse.schemas.catalog import EngineModel, Price

MIN_KEY_LENGTH = 32


class Group(BaseModel):
    """A group of settings; a name that does not exist is an error."""

    # Whoever prints an error must not print the secret that was wrong.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _check_length(variable: str, secret: SecretStr | None) -> None:
    if secret is not None and len(secret.get_secret_value()) < MIN_KEY_LENGTH:
        raise ValueError(f"{variable} needs {MIN_KEY_LENGTH} characters or more")


class DatabaseSettings(Group):
    url: str = Field("", repr=False, description="SQLAlchemy URL; empty: SQLite in the data directory")
    pool_size: int = Field(10, ge=1, description="Connections a process keeps open (PostgreSQL)")


class RedisSettings(Group):
    url: str = Field("", repr=False, description="Redis or Valkey; empty: limits are kept within the process")


class TemporalSettings(Group):
    address: str = Field("127.0.0.1:7233", description="host:port of the Temporal frontend")
    namespace: str = Field("default", description="Temporal namespace")
    api_key: SecretStr | None = Field(None, description="API key (Temporal Cloud)")
    tls: bool = Field(False, description="Connect with TLS")
    tls_server_ca: Path | None = Field(None, description="PEM file with the CA of the server")
    tls_client_cert: Path | None = Field(None, description="PEM file with the client certificate")
    tls_client_key: Path | None = Field(None, description="PEM file with the client key")
    ui_url: str = Field("", description="Base URL of the Temporal Web UI, for links; empty: no links")
    encryption_key: SecretStr | None = Field(
        None, description="Encrypts what Temporal is given to keep; 32 characters or more; not set: not encrypted"
    )
    retired_keys: tuple[SecretStr, ...] = Field(
        (), description="Former or coming encryption keys, with which payloads are read only; a JSON list"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        for name, secrets in (("encryption_key", [self.encryption_key]), ("retired_keys", self.retired_keys)):
            for secret in secrets:
                _check_length(f"GENPULSE_TEMPORAL__{name.upper()}", secret)
        return self


class StorageSettings(Group):
    url: str = Field("", description="file:///… or s3://bucket/prefix; empty: a folder in the data directory")
    endpoint: str = Field("", description="Endpoint of an S3-compatible service; empty: AWS")
    region: str = Field("us-east-1", description="Region that requests are signed for")
    access_key: SecretStr | None = Field(None, description="S3 access key")
    secret_key: SecretStr | None = Field(None, description="S3 secret key")


class SecuritySettings(Group):
    admin_key: SecretStr | None = Field(
        None, description="Bootstrap key with all scopes for the tenant `default`; 32 characters or more"
    )
    signing_key: SecretStr | None = Field(
        None, description="Signs links to assets, seals webhooks' secrets, digests keys; 32 characters or more"
    )
    link_lifetime: timedelta = Field(timedelta(days=1), description="How long a signed link is valid at least")

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        for name in ("admin_key", "signing_key"):
            _check_length(f"GENPULSE_SECURITY__{name.upper()}", getattr(self, name))
        return self


class NetworkSettings(Group):
    allow_private: bool = Field(
        False, description="Let URLs of inputs and webhooks reach private addresses (development and tests)"
    )


class ProviderSettings(Group):
    base_url: str = Field("", description="Where that cloud's API is; empty: its public address")
    api_key: SecretStr | None = Field(None, description="Credential, for clouds with a single key")
    access_key: SecretStr | None = Field(None, description="Credential, for clouds with a pair")
    secret_key: SecretStr | None = Field(None, description="Credential, for clouds with a pair")
    webhook_secret: SecretStr | None = Field(None, description="Secret by which the cloud signs its callbacks")
    options: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="What else the cloud needs of an account; some of it is secret, so all of it is",
    )
    rate: float | None = Field(None, gt=0, description="Requests per second of the account")
    burst: int | None = Field(None, ge=1, description="Requests that may come at once")
    concurrency: int | None = Field(None, ge=1, description="Jobs in flight of the account")

    def lacks(self, needs: Iterable[str]) -> list[str]:
        """Which of these it does not have: names of fields, one within the options as `options.bucket`.

        Of names joined by `|` any will do.
        """
        return [names for names in needs if not any(self._has(name) for name in names.split("|"))]

    def _has(self, name: str) -> bool:
        group, _, option = name.partition(".")
        if not option:
            return getattr(self, group) is not None
        return option in self.options and bool(self.options[option].get_secret_value())


class EngineSettings(Group):
    models: dict[str, EngineModel] = Field(default_factory=dict, description="More diffusers models, as JSON by name")
    device: str = Field("auto", description="torch device for models that name none")
    cache_megabytes: int = Field(4096, ge=64, description="Memory that loaded models may take")
    offline: bool = Field(True, description="Never ask a model hub; models must lie on disk")


class ServerSettings(Group):
    host: str = Field("127.0.0.1", description="Address that the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on")
    public_url: str = Field("", description="Base URL in links; empty: taken from the request")
    max_body_bytes: int = Field(32 * 2**20, ge=1024, description="Largest JSON body")


class UploadSettings(Group):
    max_bytes: int = Field(512 * 2**20, ge=1024, description="Largest file")
    max_pixels: int = Field(64_000_000, ge=1, description="Most pixels of an image or a frame")
    max_seconds: float = Field(600, gt=0, description="Longest video or sound")
    max_frames: int = Field(36_000, ge=1, description="Most frames of a video")


class WorkerSettings(Group):
    deployment_name: str = Field(
        "", pattern=r"^[\w-]*$", description="Deployment that workers of workflows belong to; empty: no versions"
    )
    build_id: str = Field("", pattern=r"^[\w.+-]*$", description="Version of that deployment; goes with the name")
    graceful_seconds: float = Field(30, ge=0, description="Time that running steps get to finish at shutdown")
    sandbox: bool = Field(True, description="Run workflow code in Temporal's sandbox")
    provider_concurrency: int = Field(100, ge=1, description="Calls to clouds under way at once")
    fake_concurrency: int = Field(50, ge=1, description="Steps of `local/fake` at once (load tests)")
    webhook_concurrency: int = Field(100, ge=1, description="Events on their way to receivers at once")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.deployment_name) is not bool(self.build_id):
            raise ValueError("GENPULSE_WORKER__DEPLOYMENT_NAME and GENPULSE_WORKER__BUILD_ID go together")
        return self


class BudgetSettings(Group):
    start_seconds: float = Field(24 * 3600, gt=0, description="How long a step may wait for its turn")
    run_seconds: float = Field(2 * 3600, gt=0, description="How long a step may take once it has begun")
    dead_letter_days: float = Field(7, gt=0, description="How long a dead letter waits for somebody to decide")


class FailpointSettings(Group):
    folder: Path | None = Field(None, description="For tests: a file here kills the process that comes to the point")


class UpkeepSettings(Group):
    interval: timedelta = Field(
        timedelta(minutes=5), ge=timedelta(seconds=10), description="How often what is stored is held against Temporal"
    )


class CreditSettings(Group):
    prices: dict[str, Price] = Field(
        default_factory=dict,
        description="Prices in place of the catalogue's, as JSON by `provider/model` or `provider/model:operation`",
    )
    markup: Decimal = Field(
        Decimal(0), ge=0, decimal_places=2, description="What is charged on top of the provider's price: 0.2 is a fifth"
    )
    free_options: tuple[str, ...] = Field(
        (), description="More provider options that make nothing dearer, as a JSON list of `provider/model:option`"
    )


class RetentionSettings(Group):
    generations_days: float = Field(0, ge=0, description="How long what has ended is kept, with outputs; 0: for ever")
    events_days: float = Field(
        30, ge=0, description="How long what has ended keeps all its events; 0: as long as itself"
    )
    uploads_days: float = Field(
        0, ge=0, description="How long an upload is kept that nothing unfinished needs; 0: for ever"
    )
    idempotency_hours: float = Field(24, gt=0, description="How long an `Idempotency-Key` is remembered at least")


class TelemetrySettings(Group):
    exporter: Literal["none", "otlp", "console"] = Field("none", description="Where OpenTelemetry spans go")
    endpoint: str = Field("", description="OTLP/HTTP endpoint; empty: the OpenTelemetry default")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity logged")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or for people")


class Settings(BaseSettings):
    """Everything that can be set from outside."""

    model_config = SettingsConfigDict(
        env_prefix="GENPULSE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(Path(".genpulse"), description="Folder of the embedded stack's state")
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    temporal: TemporalSettings = TemporalSettings()
    storage: StorageSettings = StorageSettings()
    security: SecuritySettings = SecuritySettings()
    network: NetworkSettings = NetworkSettings()
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    engine: EngineSettings = EngineSettings()
    server: ServerSettings = ServerSettings()
    uploads: UploadSettings = UploadSettings()
    worker: WorkerSettings = WorkerSettings()
    budgets: BudgetSettings = BudgetSettings()
    failpoints: FailpointSettings = FailpointSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    upkeep: UpkeepSettings = UpkeepSettings()
    retention: RetentionSettings = RetentionSettings()
    credits: CreditSettings = CreditSettings()

    @property
    def database_url(self) -> str:
        """The database's URL with the embedded default filled in."""
        return self.database.url or f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'genpulse.db'}"

    @property
    def storage_url(self) -> str:
        """The storage's URL with the embedded default filled in."""
        return self.storage.url or (self.data_dir.absolute() / "assets").as_uri()
