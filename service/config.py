"""Settings: one frozen object, read once from the environment variables `HOURGLASS_*`. Unknown names are errors."""

from base64 import b64decode
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import ceil
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from service.card import Operation
from service.environment import read_variables
from service.setting_errors import explain_errors
from service.setting_types import (
    Address,
    DeviceName,
    FolderOrAddress,
    ImageFormats,
    ModelReference,
    Networks,
    Origins,
    PublicKeys,
    RateLimit,
    UrlPath,
    UserPath,
    expand_user,
    parse_provider_options,
    split_list,
)

BUNDLED_MODELS = Path(__file__).parent / "models"  # only in the wheel: pyproject.toml copies some models there
# Models of the requests that name none, unless a setting does: the first of them that is loaded.
BUILTIN_DEFAULTS: dict[Operation, tuple[str, ...]] = {
    "encode": ("digits",),
    "decode": ("digits",),
    "reconstruct": ("digits",),
    "denoise": ("photo", "photo-fast"),
}


def _default_model(operation: Operation, builtin: str) -> Any:
    """Return the field of the model that answers requests of an operation that name none."""
    return Field(
        default="",
        description=f"model of /{operation} if the request names none: NAME or NAME@VERSION; "
        f"empty: {builtin}, or the only model of the operation",
    )


class Settings(BaseModel):
    """All settings with their defaults. The field `x` is read from the variable `HOURGLASS_X`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models_dir: FolderOrAddress = Field(
        default=Path("models"),
        description="folder of models, NAME/VERSION/card.json, or its address: s3://, gs://, az://, https:// or hf://, "
        "which need the extra hub; without the setting and without ./models, the models of the wheel",
    )
    model_cache_dir: UserPath = Field(
        default=Path("~/.cache/hourglass"), description="folder for the copies of models that are kept at an address"
    )
    model_cache_mib: PositiveInt = Field(
        default=4096, description="largest copy in MiB; it needs room for two versions of each model"
    )
    model_poll_seconds: PositiveFloat = Field(
        default=60.0, description="seconds between two looks for new versions at an address"
    )
    models_source: Address = Field(default="", description="address that `hourglass models pull` copies from")
    trusted_keys: PublicKeys = Field(
        default="",
        description="ed25519 public keys in base64, separated by commas; versions that none of them signed are "
        "refused; needs the extra hub",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on")
    grpc_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="port of the Open Inference Protocol over gRPC; 0 is off; needs the extra grpc",
    )
    workers: PositiveInt = Field(
        default=1, description="worker processes behind the port; the limits below are divided among them"
    )
    device: DeviceName = Field(
        default="auto",
        description="execution device: auto, cpu, cuda or the name of another execution provider of the installed "
        "onnxruntime, such as openvino, tensorrt, coreml, dml, migraphx; the service does not start if it cannot be "
        "used; auto is CUDA where it works, else the CPU",
    )
    provider_options: str = Field(
        default="",
        description="options of the execution provider of HOURGLASS_DEVICE as onnxruntime documents them, in a JSON "
        'object of texts and numbers, such as {"device_type": "CPU"}',
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
        description="precision of models that have both; auto measures each and takes the fastest that this processor "
        "computes exactly, /models gives the figures; a graph set here that it cannot compute exactly is refused",
    )
    tile_memory_mib: int = Field(
        default=136, ge=16, description="MiB per CPU core for the tiles of large images in a model run"
    )
    model_watch: Literal["auto", "poll", "off"] = Field(
        default="auto", description="how changes in the models folder are detected"
    )
    model_link_dirs: str = Field(
        default="",
        description="folders outside the models folder in which links of models may end, separated by colons",
    )
    model_memory_mib: int = Field(
        default=0,
        ge=0,
        description="MiB of memory for loaded models, estimated from the size of their graphs; beyond it the least "
        "recently used are unloaded, and loaded again by a request for them; default models stay; 0 keeps all",
    )
    max_old_versions: int = Field(default=4, ge=0, description="older versions kept in memory after a request for them")

    default_encode: ModelReference = _default_model("encode", "digits")
    default_decode: ModelReference = _default_model("decode", "digits")
    default_reconstruct: ModelReference = _default_model("reconstruct", "digits")
    default_denoise: ModelReference = _default_model("denoise", "photo, else photo-fast")

    image_formats: ImageFormats = Field(
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
        description="keep or strip metadata in image responses, unless a request overrides it; ICC profiles are kept",
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
    keep_alive_timeout: PositiveFloat = Field(
        default=620.0,
        description="seconds that an idle connection is kept open; longer than load balancers reuse one by default"
        " (GCP 600, Azure 240, AWS ALB, nginx and HAProxy 60 or less)",
    )
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

    api_keys_file: UserPath | None = Field(
        default=None, description="file of API keys, see `hourglass key`; without it no key is required"
    )
    rate_limit: RateLimit = Field(
        default="", description="requests per API key, such as 100/minute, with api_keys_file only; empty: unlimited"
    )
    cors_origins: Origins = Field(default="", description="origins allowed by CORS, separated by commas; * allows all")
    root_path: UrlPath = Field(
        default="", description="path under which a proxy serves the API, such as /hourglass; removed from requests"
    )
    forwarded_allow_ips: Networks = Field(
        default="127.0.0.1,::1",
        description="proxies whose X-Forwarded-Prefix is obeyed: addresses or networks, separated by commas; * is all",
    )
    enable_docs: bool = Field(default=True, description="serve /docs and /openapi.json")
    enable_playground: bool = Field(
        default=True,
        description="serve the playground, a page to try the models, at /; without it, / redirects to /docs",
    )
    enable_metrics: bool = Field(default=True, description="serve /metrics")
    enable_model_control: bool = Field(
        default=False,
        description="let clients of the Open Inference Protocol load and unload models; needs API keys and one worker",
    )
    tls_cert_file: UserPath | None = Field(default=None, description="PEM file with the certificate; enables HTTPS")
    tls_key_file: UserPath | None = Field(
        default=None, description="PEM file with the private key, if the certificate file does not contain it"
    )

    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto writes console output on a terminal and JSON otherwise"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    access_log: bool = Field(default=False, description="log every request, not only failures")

    @field_validator("*", mode="before")
    @classmethod
    def _choices_in_any_case(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[info.field_name or ""]
        return value.lower() if isinstance(value, str) and get_origin(field.annotation) is Literal else value

    @field_validator("provider_options")
    @classmethod
    def _options_are_json(cls, value: str, info: ValidationInfo) -> str:
        if value:
            parse_provider_options(value)
            if info.data.get("device") == "auto":
                raise ValueError("empty unless HOURGLASS_DEVICE names the execution provider that they are for")
        return value

    @field_validator("enable_model_control")
    @classmethod
    def _control_is_protected(cls, value: bool, info: ValidationInfo) -> bool:
        if value and (info.data.get("api_keys_file") is None or info.data.get("workers") != 1):
            raise ValueError("false without api_keys_file, or with several workers, of which each has its own models")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _rate_has_keys(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("api_keys_file") is None:
            raise ValueError("empty without HOURGLASS_API_KEYS_FILE, because requests are counted by their API keys")
        return value

    @field_validator("tls_key_file")
    @classmethod
    def _key_has_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value and info.data.get("tls_cert_file") is None:
            raise ValueError("empty without HOURGLASS_TLS_CERT_FILE, without which HTTP is not encrypted")
        return value

    @field_validator("access_log")
    @classmethod
    def _access_log_is_written(cls, value: bool, info: ValidationInfo) -> bool:
        if value and (level := info.data.get("log_level")) in ("warning", "error"):
            raise ValueError(f"false while HOURGLASS_LOG_LEVEL is {level}, because its lines have the level info")
        return value

    @classmethod
    def from_env(cls, environ: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Self:
        """Read the settings; `flags`, by field name, take precedence.

        Raises ValueError if a variable is unknown or invalid, with its name, its value and what would be valid.
        """
        variables = read_variables(environ, cls.model_fields)
        values = {**variables.settings, **(flags or {})}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ValueError(explain_errors(cls, error, variables.names)) from error

    @cached_property
    def allowed_formats(self) -> frozenset[str]:
        """The accepted image formats."""
        return frozenset(self.image_formats.split(","))

    @cached_property
    def allowed_origins(self) -> frozenset[str]:
        """The origins that CORS allows, as browsers write them; `*` stands for all."""
        return frozenset(origin.rstrip("/").lower() for origin in split_list(self.cors_origins))

    @cached_property
    def trusts_all_proxies(self) -> bool:
        """Whether forwarded headers of every peer are obeyed."""
        return "*" in split_list(self.forwarded_allow_ips)

    @cached_property
    def trusted_proxies(self) -> list[IPv4Network | IPv6Network]:
        """The networks of proxies whose forwarded headers are obeyed."""
        return [ip_network(text, strict=False) for text in split_list(self.forwarded_allow_ips) if text != "*"]

    @property
    def execution_options(self) -> dict[str, str]:
        """The options of the execution provider."""
        return parse_provider_options(self.provider_options) if self.provider_options else {}

    @property
    def models_address(self) -> str | None:
        """The address of the models if they are kept elsewhere, or None."""
        return self.models_dir if isinstance(self.models_dir, str) else None

    @cached_property
    def uses_bundled_models(self) -> bool:
        """Whether the models are those of the wheel: no folder is set, and there is no folder ./models."""
        unset = "models_dir" not in self.model_fields_set
        return unset and not Path(self.models_dir).exists() and BUNDLED_MODELS.is_dir()

    @property
    def models_origin(self) -> str:
        """Why the models are looked for where they are, for the log."""
        if "models_dir" in self.model_fields_set:
            return "HOURGLASS_MODELS_DIR or --models-dir"
        if self.uses_bundled_models:
            return "the models of the wheel, because no folder is set and there is no ./models"
        return "./models, because no folder is set"

    @property
    def models_folder(self) -> Path:
        """The local folder of models: that of the settings or of the wheel, or the copy of the one at the address."""
        if self.uses_bundled_models:
            return BUNDLED_MODELS
        if isinstance(self.models_dir, Path):
            return self.models_dir
        return expand_user(self.model_cache_dir) / sha256(self.models_dir.encode()).hexdigest()[:16]

    @property
    def trusted_public_keys(self) -> tuple[bytes, ...]:
        """The ed25519 public keys, 32 bytes each, of which one must have signed a version."""
        return tuple(b64decode(text) for text in split_list(self.trusted_keys))

    @property
    def link_dirs(self) -> tuple[Path, ...]:
        """The folders outside the models folder in which links of models may end."""
        return tuple(Path(text.strip()).expanduser() for text in self.model_link_dirs.split(":") if text.strip())

    def default_model(self, operation: Operation) -> str:
        """Return the name of the default model of an operation, or an empty string."""
        return str(getattr(self, f"default_{operation}")).partition("@")[0]

    def default_version(self, operation: Operation) -> int | None:
        """Return the version that the default of an operation names, or None."""
        return int(str(getattr(self, f"default_{operation}")).partition("@")[2] or 0) or None

    @property
    def default_versions(self) -> set[tuple[str, int]]:
        """The models and versions that the defaults name by NAME@VERSION."""
        defaults = [(self.default_model(name), self.default_version(name)) for name in get_args(Operation)]
        return {(name, version) for name, version in defaults if version}

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
                "model_memory_mib": ceil(self.model_memory_mib / self.workers),
            }
        )


def explain_flags(error: ValidationError) -> str:
    """Return the errors of settings that were given as flags, as one sentence each."""
    return explain_errors(Settings, error, {})
