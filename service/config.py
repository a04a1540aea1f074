"""Settings: one frozen object, built once from the environment (`HOURGLASS_*`); unknown names are refused."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from limits import parse
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.card import Operation

PREFIX = "HOURGLASS_"
FOREIGN_VARIABLES = {"HOURGLASS_DATA"}  # training's; both read one environment
KNOWN_FORMATS = frozenset({"png", "jpeg", "webp", "tiff", "bmp", "gif"})
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
    """Every limit and choice, its default and its meaning. A field `x` is the variable `HOURGLASS_X`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    models_dir: Path = Field(default=Path("models"), description="folder of models, NAME/VERSION/card.json")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on")
    workers: PositiveInt = Field(
        default=1, description="processes behind the port; limits below are divided among them"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="cuda never falls back to the processor")
    intra_op_threads: int = Field(
        default=0, ge=0, description="threads of one model run; 0 chooses and says why in /models"
    )
    max_batch_size: PositiveInt = Field(
        default=256, description="items that one model run takes at most; how many pay is measured and told in /models"
    )
    precision: Literal["auto", "float32", "int8"] = Field(
        default="auto", description="of models that come in both; auto: int8 where this processor is made for it"
    )
    tile_memory_mib: int = Field(
        default=96, ge=16, description="MiB for each processor that the tiles of large pictures may take in a run"
    )
    model_watch: Literal["auto", "poll", "off"] = Field(
        default="auto", description="how changes of the models folder are seen"
    )
    max_old_versions: int = Field(
        default=4, ge=0, description="superseded versions kept loaded once asked for by version="
    )

    default_encode: str = Field(default="", description="model of /encode when the request names none")
    default_decode: str = Field(default="", description="model of /decode when the request names none")
    default_reconstruct: str = Field(default="", description="model of /reconstruct when the request names none")
    default_denoise: str = Field(default="", description="model of /denoise when the request names none")

    image_formats: str = Field(
        default="png,jpeg,webp", description="picture formats taken, by commas; also known: tiff, bmp, gif"
    )
    alpha_background: Literal["black", "white"] = Field(default="black", description="behind transparent pixels")
    image_quality: int = Field(default=90, ge=1, le=100, description="of JPEG and WebP answers")
    metadata: Literal["keep", "strip"] = Field(
        default="keep", description="EXIF of answered pictures, unless a request says; a colour profile always stays"
    )

    max_header_bytes: PositiveInt = Field(default=64 << 10, description="bytes of a request's address and headers")
    header_timeout: PositiveFloat = Field(default=10.0, description="seconds until a request's headers are here")
    min_data_rate_grace: PositiveFloat = Field(
        default=20.0, description="seconds that a body, or who reads an answer, may take at any speed"
    )
    min_data_rate: PositiveInt = Field(default=16 << 10, description="bytes a second that both must come to after that")
    keep_alive_timeout: PositiveFloat = Field(
        default=5.0, description="seconds that a connection is kept for the next request"
    )
    max_body_bytes: PositiveInt = Field(default=64 << 20, description="bytes of a request body")
    max_pixels: PositiveInt = Field(default=4_000_000, description="pixels of a picture for a model of fixed size")
    max_pixels_any_size: PositiveInt = Field(
        default=64_000_000, description="pixels of a picture for a model of any size"
    )
    max_jpeg_scans: PositiveInt = Field(
        default=100, description="scans of a JPEG; each costs a pass over all its pixels"
    )
    max_items: PositiveInt = Field(default=1024, description="pictures, vectors or codes of one request")
    max_inflight_items: PositiveInt = Field(default=4096, description="items admitted at once; more are answered 503")
    max_inflight_bytes: PositiveInt = Field(
        default=1 << 30, description="decoded bytes admitted at once; more are answered 503"
    )
    request_timeout: PositiveFloat = Field(default=30.0, description="seconds a request may take once its body is here")
    request_timeout_per_megapixel: NonNegativeFloat = Field(
        default=4.0, description="seconds more that a request, or a stop, may take for every megapixel admitted"
    )
    watchdog_timeout: int = Field(
        default=60,
        ge=0,
        description="seconds that a run may hang before /livez is red and the process ends; 0: any",
    )
    drain_timeout: PositiveInt = Field(default=20, description="seconds that a stop waits for requests under way")
    shutdown_delay: NonNegativeFloat = Field(
        default=1.0, description="seconds that a stop goes on taking connections before it closes the port"
    )

    api_keys_file: Path | None = Field(default=None, description="file of keys, see `hourglass key`; none: all may ask")
    rate_limit: str = Field(default="", description="requests of each key, as 100/minute; empty: any number")
    cors_origins: str = Field(
        default="", description="origins, by commas, whose pages may ask from a browser; * for all"
    )
    enable_docs: bool = Field(default=True, description="whether there are /docs and /openapi.json")
    enable_metrics: bool = Field(default=True, description="whether there is /metrics")
    tls_cert_file: Path | None = Field(default=None, description="PEM file of the certificate: serves https")
    tls_key_file: Path | None = Field(default=None, description="PEM file of its key, where it is not in the same file")

    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")
    access_log: bool = Field(default=False, description="a log line for every request, not only for failures")

    @field_validator("image_formats")
    @classmethod
    def _known_formats(cls, value: str) -> str:
        if not value or not set(value.split(",")) <= KNOWN_FORMATS:
            raise ValueError(f"some of {', '.join(sorted(KNOWN_FORMATS))}, by commas")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _valid_rate(cls, value: str) -> str:
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
        unknown = sorted(
            name for name in environ if name.startswith(PREFIX) and name.upper() not in known | FOREIGN_VARIABLES
        )
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]}{cls._suggestion(unknown[0])}")
        return cls()

    @classmethod
    def _suggestion(cls, unknown: str) -> str:
        """The end of the sentence about an unknown variable: its new name, the nearest one, or where all are listed."""
        name = unknown[len(PREFIX) :].upper()
        if name in RENAMED:
            return f": it is called {PREFIX}{RENAMED[name]}"
        nearest = get_close_matches(name, [field.upper() for field in cls.model_fields], n=1)
        return f"; did you mean {PREFIX}{nearest[0]}?" if nearest else "; `hourglass serve --help` lists all"

    @cached_property
    def allowed_formats(self) -> frozenset[str]:
        """Picture formats taken."""
        return frozenset(self.image_formats.split(","))

    def default_model(self, operation: Operation) -> str:
        """The default model of an operation, or the empty string."""
        return str(getattr(self, f"default_{operation}"))

    @property
    def max_shutdown_seconds(self) -> float:
        """Seconds after which a stop waits for nobody: as many megapixels as may be admitted have had their time."""
        return self.drain_timeout + self.request_timeout_per_megapixel * self.max_inflight_bytes / 3e6

    def per_worker(self) -> Self:
        """The settings of one worker: what is counted over the whole service, divided by the workers."""
        return self.model_copy(
            update={
                "max_inflight_items": max(1, self.max_inflight_items // self.workers),
                "max_inflight_bytes": max(1, self.max_inflight_bytes // self.workers),
            }
        )
