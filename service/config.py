"""Settings: one frozen object, built once from the environment (`HOURGLASS_*`); unknown names are refused."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from limits import parse
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.card import Operation

PREFIX = "HOURGLASS_"
NOT_OURS = {"HOURGLASS_DATA"}  # training's; both read one environment
FORMATS = frozenset({"png", "jpeg", "webp", "tiff", "bmp", "gif"})


class Settings(BaseSettings):
    """Every limit and choice, its default and its meaning. A field `x` is the variable `HOURGLASS_X`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    models: Path = Field(default=Path("models"), description="folder of models, NAME/VERSION/card.json")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on")
    workers: PositiveInt = Field(
        default=1, description="processes behind the port; limits below are divided among them"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="cuda never falls back to the processor")
    threads: int = Field(default=0, ge=0, description="threads of one model run; 0 chooses and says why in /models")
    max_batch: PositiveInt = Field(
        default=256, description="items that one model run takes at most; how many pay is measured and told in /models"
    )
    precision: Literal["auto", "float32", "int8"] = Field(
        default="auto", description="of models that come in both; auto: int8 where this processor is made for it"
    )
    tile_memory: int = Field(
        default=96, ge=16, description="MiB for each processor that the tiles of large pictures may take in a run"
    )
    watch: Literal["auto", "poll", "off"] = Field(
        default="auto", description="how changes of the models folder are seen"
    )
    old_versions: int = Field(default=4, ge=0, description="superseded versions kept loaded once asked for by version=")

    default_encode: str = Field(default="", description="model of /encode when the request names none")
    default_decode: str = Field(default="", description="model of /decode when the request names none")
    default_reconstruct: str = Field(default="", description="model of /reconstruct when the request names none")
    default_denoise: str = Field(default="", description="model of /denoise when the request names none")

    formats: str = Field(
        default="png,jpeg,webp", description="picture formats taken, by commas; also known: tiff, bmp, gif"
    )
    background: Literal["black", "white"] = Field(default="black", description="behind transparent pixels")
    quality: int = Field(default=90, ge=1, le=100, description="of JPEG and WebP answers")
    metadata: Literal["keep", "strip"] = Field(
        default="keep", description="EXIF of answered pictures, unless a request says; a colour profile always stays"
    )

    max_head: PositiveInt = Field(default=64 << 10, description="bytes of a request's address and headers")
    head_timeout: PositiveFloat = Field(default=10.0, description="seconds until a request's headers are here")
    body_grace: PositiveFloat = Field(
        default=20.0, description="seconds that a body, or who reads an answer, may take at any speed"
    )
    body_rate: PositiveInt = Field(default=16 << 10, description="bytes a second that both must come to after that")
    keep_alive: PositiveFloat = Field(default=5.0, description="seconds that a connection is kept for the next request")
    max_body: PositiveInt = Field(default=64 << 20, description="bytes of a request body")
    max_pixels: PositiveInt = Field(default=4_000_000, description="pixels of a picture for a model of fixed size")
    max_pixels_any: PositiveInt = Field(default=64_000_000, description="pixels of a picture for a model of any size")
    max_scans: PositiveInt = Field(default=100, description="scans of a JPEG; each costs a pass over all its pixels")
    max_items: PositiveInt = Field(default=1024, description="pictures, vectors or codes of one request")
    queue_items: PositiveInt = Field(default=4096, description="items admitted at once; more are answered 503")
    queue_bytes: PositiveInt = Field(
        default=1 << 30, description="decoded bytes admitted at once; more are answered 503"
    )
    deadline: PositiveFloat = Field(default=30.0, description="seconds a request may take once its body is here")
    deadline_megapixel: NonNegativeFloat = Field(
        default=4.0, description="seconds more that a request, or a stop, may take for every megapixel admitted"
    )
    patience: int = Field(
        default=60,
        ge=0,
        description="seconds that a run may hang before /livez is red and the process ends; 0: any",
    )
    drain: PositiveInt = Field(default=20, description="seconds that a stop waits for requests under way")
    linger: NonNegativeFloat = Field(
        default=1.0, description="seconds that a stop goes on taking connections before it closes the port"
    )

    keys: Path | None = Field(default=None, description="file of keys, see `hourglass key`; none: all may ask")
    rate: str = Field(default="", description="requests of each key, as 100/minute; empty: any number")
    cors_origins: str = Field(
        default="", description="origins, by commas, whose pages may ask from a browser; * for all"
    )
    docs: bool = Field(default=True, description="whether there are /docs and /openapi.json")
    metrics: bool = Field(default=True, description="whether there is /metrics")
    tls_certificate: Path | None = Field(default=None, description="PEM file of the certificate: serves https")
    tls_key: Path | None = Field(default=None, description="PEM file of its key, where it is not in the same file")

    log_format: Literal["auto", "json", "human"] = Field(
        default="auto", description="auto: human on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")
    access_log: bool = Field(default=False, description="a log line for every request, not only for failures")

    @field_validator("formats")
    @classmethod
    def _known(cls, value: str) -> str:
        if not value or not set(value.split(",")) <= FORMATS:
            raise ValueError(f"some of {', '.join(sorted(FORMATS))}, by commas")
        return value

    @field_validator("rate")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        if value:
            try:
                parse(value)
            except ValueError as error:
                raise ValueError("a number of requests and a time, as 100/minute or 5/second") from error
        return value

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings of this process. Raises ValueError naming a variable that is unknown or ill-valued."""
        known = {PREFIX + name.upper() for name in cls.model_fields}
        unknown = sorted(name for name in environ if name.startswith(PREFIX) and name.upper() not in known | NOT_OURS)
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]}; `hourglass serve --help` lists all")
        return cls()

    @cached_property
    def taken(self) -> frozenset[str]:
        """Picture formats taken."""
        return frozenset(self.formats.split(","))

    def default(self, operation: Operation) -> str:
        """The default model of an operation, or the empty string."""
        return str(getattr(self, f"default_{operation}"))

    @property
    def longest_drain(self) -> float:
        """Seconds after which a stop waits for nobody: as many megapixels as may be admitted have had their time."""
        return self.drain + self.deadline_megapixel * self.queue_bytes / 3e6

    def share(self) -> Self:
        """The settings of one worker: what is counted over the whole service, divided by the workers."""
        return self.model_copy(
            update={
                "queue_items": max(1, self.queue_items // self.workers),
                "queue_bytes": max(1, self.queue_bytes // self.workers),
            }
        )
