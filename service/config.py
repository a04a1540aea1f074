"""Settings: one frozen object, read once from the environment variables `HOURGLASS_*`. Unknown names are errors."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from limits import parse
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.card import Operation

PREFIX = "HOURGLASS_"
FOREIGN_VARIABLES = {"HOURGLASS_DATA"}  # training's; both read one environment
KNOWN_FORMATS = frozenset({"png", "jpeg", "webp", "tiff", "bmp", "gif", "avif", "heif"})
RENAMED = {  # names of development versions; an error names their successors
    "MODELS": "MODELS_DIR",
    "THREADS": "INTRA_OP_THREADS",
    "MAX_BATCH": "MAX_BATCH_SIZE",
    "TILE_MEMORY": "TILE_MEMORY_MIB",
    "WATCH": "MODEL_WATCH",
    "OLD_VERSIONS": "MAX_OLD_VERSIONS",
    "FORMATS": "IMAGE_FORMATS",
    "BACKGROUND": "ALPHA_BACKGROUND",
    "QUALITY": "IMAGE_QUALITY",
    "MAX_HEAD": "MAX_HEADER_BYTES",
    "HEAD_TIMEOUT": "HEADER_TIMEOUT",
    "BODY_GRACE": "MIN_DATA_RATE_GRACE",
    "BODY_RATE": "MIN_DATA_RATE",
    "KEEP_ALIVE": "KEEP_ALIVE_TIMEOUT",
    "MAX_BODY": "MAX_BODY_BYTES",
    "MAX_PIXELS_ANY": "MAX_PIXELS_ANY_SIZE",
    "MAX_SCANS": "MAX_JPEG_SCANS",
    "QUEUE_ITEMS": "MAX_INFLIGHT_ITEMS",
    "QUEUE_BYTES": "MAX_INFLIGHT_BYTES",
    "DEADLINE": "REQUEST_TIMEOUT",
    "DEADLINE_MEGAPIXEL": "REQUEST_TIMEOUT_PER_MEGAPIXEL",
    "PATIENCE": "WATCHDOG_TIMEOUT",
    "DRAIN": "DRAIN_TIMEOUT",
    "LINGER": "SHUTDOWN_DELAY",
    "KEYS": "API_KEYS_FILE",
    "RATE": "RATE_LIMIT",
    "DOCS": "ENABLE_DOCS",
    "METRICS": "ENABLE_METRICS",
    "TLS_CERTIFICATE": "TLS_CERT_FILE",
    "TLS_KEY": "TLS_KEY_FILE",
}


class Settings(BaseSettings):
    """All settings with their defaults. The field `x` is read from the variable `HOURGLASS_X`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    models_dir: Path = Field(default=Path("models"), description="folder of models, NAME/VERSION/card.json")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on")
    workers: PositiveInt = Field(
        default=1, description="worker processes behind the port; the limits below are divided among them"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="execution device; cuda fails at startup if no GPU can be used, auto falls back to the CPU",
    )
    intra_op_threads: int = Field(
        default=0, ge=0, description="threads of one model run; 0 chooses a number, /models gives the reason"
    )
    max_batch_size: PositiveInt = Field(
        default=256,
        description="largest batch of a model run; the best size up to it is measured, /models gives the result",
    )
    precision: Literal["auto", "float32", "int8"] = Field(
        default="auto",
        description="precision of models that have both; auto uses int8 if the CPU has instructions for it",
    )
    tile_memory_mib: int = Field(
        default=96, ge=16, description="MiB per CPU core for the tiles of large images in a model run"
    )
    model_watch: Literal["auto", "poll", "off"] = Field(
        default="auto", description="how changes in the models folder are detected"
    )
    max_old_versions: int = Field(default=4, ge=0, description="older versions kept in memory after a request for them")

    default_encode: str = Field(default="", description="model of /encode if the request names none")
    default_decode: str = Field(default="", description="model of /decode if the request names none")
    default_reconstruct: str = Field(default="", description="model of /reconstruct if the request names none")
    default_denoise: str = Field(default="", description="model of /denoise if the request names none")

    image_formats: str = Field(
        default="png,jpeg,webp",
        description="accepted image formats, separated by commas; tiff, bmp, gif, avif and, with the extra heif, heif "
        "(HEIC) are supported too",
    )
    alpha_background: Literal["black", "white"] = Field(
        default="black", description="background colour behind transparent pixels for encode and reconstruct"
    )
    image_quality: int = Field(
        default=90, ge=1, le=100, description="quality of JPEG and WebP responses, if the image sent is no JPEG"
    )
    metadata: Literal["keep", "strip"] = Field(
        default="keep",
        description="keep or strip EXIF in image responses, unless a request overrides it; ICC profiles are kept",
    )

    max_header_bytes: PositiveInt = Field(
        default=64 << 10, description="maximum size of the request line and headers, in bytes"
    )
    header_timeout: PositiveFloat = Field(
        default=10.0, description="seconds in which the headers of a request must arrive"
    )
    min_data_rate_grace: PositiveFloat = Field(
        default=20.0, description="seconds before the minimum data rate is enforced"
    )
    min_data_rate: PositiveInt = Field(
        default=16 << 10, description="minimum bytes per second of request bodies and response bodies"
    )
    keep_alive_timeout: PositiveFloat = Field(default=5.0, description="seconds that an idle connection is kept open")
    max_body_bytes: PositiveInt = Field(default=64 << 20, description="maximum size of a request body, in bytes")
    max_pixels: PositiveInt = Field(
        default=4_000_000, description="maximum pixels of an image for models of fixed size"
    )
    max_pixels_any_size: PositiveInt = Field(
        default=64_000_000, description="maximum pixels of an image for models of any size"
    )
    max_jpeg_scans: PositiveInt = Field(
        default=100, description="maximum scans of a JPEG; each costs a pass over all pixels"
    )
    max_items: PositiveInt = Field(default=1024, description="maximum images, vectors or codes in one request")
    max_inflight_items: PositiveInt = Field(
        default=4096, description="maximum items in flight; further requests are answered with 503"
    )
    max_inflight_bytes: PositiveInt = Field(
        default=1 << 30, description="maximum decoded bytes in flight; further requests are answered with 503"
    )
    request_timeout: PositiveFloat = Field(
        default=30.0, description="seconds to process a request after its body has arrived"
    )
    request_timeout_per_megapixel: NonNegativeFloat = Field(
        default=4.0, description="additional seconds, for a request and for a shutdown, per megapixel in flight"
    )
    watchdog_timeout: int = Field(
        default=60,
        ge=0,
        description="seconds after which a stalled run fails /livez and ends the process; 0 disables the watchdog",
    )
    drain_timeout: PositiveInt = Field(default=20, description="seconds that a shutdown waits for requests in flight")
    shutdown_delay: NonNegativeFloat = Field(
        default=1.0, description="seconds that connections are still accepted after the stop signal"
    )

    api_keys_file: Path | None = Field(
        default=None, description="file of API keys, see `hourglass key`; without it no key is required"
    )
    rate_limit: str = Field(default="", description="requests per API key, such as 100/minute; empty: unlimited")
    cors_origins: str = Field(default="", description="origins allowed by CORS, separated by commas; * allows all")
    enable_docs: bool = Field(default=True, description="serve /docs and /openapi.json")
    enable_metrics: bool = Field(default=True, description="serve /metrics")
    tls_cert_file: Path | None = Field(default=None, description="PEM file with the certificate; enables HTTPS")
    tls_key_file: Path | None = Field(
        default=None, description="PEM file with the private key, if the certificate file does not contain it"
    )

    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto writes console output on a terminal and JSON otherwise"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    access_log: bool = Field(default=False, description="log every request, not only failures")

    @field_validator("image_formats")
    @classmethod
    def _known_formats(cls, value: str) -> str:
        if not value or not set(value.split(",")) <= KNOWN_FORMATS:
            raise ValueError(f"must be some of {', '.join(sorted(KNOWN_FORMATS))}, separated by commas")
        if "heif" in value.split(",") and find_spec("pillow_heif") is None:
            raise ValueError("heif needs the extra heif: pip install 'hourglass[heif]'")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _valid_rate(cls, value: str) -> str:
        if value:
            try:
                parse(value)
            except ValueError as error:
                raise ValueError("must be a number of requests and a period, such as 100/minute or 5/second") from error
        return value

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises ValueError if a variable is unknown or invalid."""
        known = {PREFIX + name.upper() for name in cls.model_fields}
        unknown = sorted(
            name for name in environ if name.startswith(PREFIX) and name.upper() not in known | FOREIGN_VARIABLES
        )
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]}{cls._suggestion(unknown[0])}")
        return cls()

    @classmethod
    def _suggestion(cls, unknown: str) -> str:
        """Return the end of the error for an unknown variable: its new name, a similar one, or where to find all."""
        name = unknown[len(PREFIX) :].upper()
        if name in RENAMED:
            return f": it is called {PREFIX}{RENAMED[name]}"
        nearest = get_close_matches(name, [field.upper() for field in cls.model_fields], n=1)
        return f"; did you mean {PREFIX}{nearest[0]}?" if nearest else "; `hourglass serve --help` lists all"

    @cached_property
    def allowed_formats(self) -> frozenset[str]:
        """The accepted image formats."""
        return frozenset(self.image_formats.split(","))

    def default_model(self, operation: Operation) -> str:
        """Return the default model of an operation, or an empty string."""
        return str(getattr(self, f"default_{operation}"))

    @property
    def max_shutdown_seconds(self) -> float:
        """Longest duration of a shutdown in seconds: the drain timeout, extended for the largest load in flight."""
        return self.drain_timeout + self.request_timeout_per_megapixel * self.max_inflight_bytes / 3e6

    def per_worker(self) -> Self:
        """Return the settings of one worker: limits of the whole service are divided by the number of workers."""
        return self.model_copy(
            update={
                "max_inflight_items": max(1, self.max_inflight_items // self.workers),
                "max_inflight_bytes": max(1, self.max_inflight_bytes // self.workers),
            }
        )
