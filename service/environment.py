"""Reads the variables `HOURGLASS_*` of an environment: their names, their quotes, and the variables that Docker and
Kubernetes add.

Does not validate values; `service.config` does.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

PREFIX = "HOURGLASS_"
FOREIGN_VARIABLES = {"HOURGLASS_DATA"}  # training's; both read one environment
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

# The variables that Kubernetes adds for a Service `hourglass` or `hourglass-x`, and Docker for a link of that name.
# Each is recognised by its name and by the form of its value.
# https://kubernetes.io/docs/concepts/services-networking/service, https://docs.docker.com/engine/network/links
_SERVICE = r"HOURGLASS(_[A-Z0-9_]+?)?"
_URL = r"(tcp|udp|sctp)://.+:\d+"
_ADDRESS = r"[0-9a-fA-F:.\[\]%]*[.:][0-9a-fA-F:.\[\]%]*"
_PORT = r"\d{1,5}"
_LINK_FORMS = tuple(
    (re.compile(_SERVICE + name), re.compile(value, re.DOTALL))
    for name, value in (
        (r"_SERVICE_HOST", _ADDRESS),
        (r"_SERVICE_PORT(_[A-Z0-9_]+)?", _PORT),
        (r"_PORT(_\d+_(TCP|UDP|SCTP))?", _URL),
        (r"_PORT_\d+_(TCP|UDP|SCTP)(_START|_END)", _URL),
        (r"_PORT_\d+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"_PORT_\d+_(TCP|UDP|SCTP)_PORT(_START|_END)?", _PORT),
        (r"_PORT_\d+_(TCP|UDP|SCTP)_ADDR", _ADDRESS),
        (r"_NAME", r"/[^/]+/.+"),
        (r"_ENV_[A-Za-z0-9_]+", r".*"),
    )
)


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of an environment. `settings`: value by field name; `names`: the variable of each field."""

    settings: dict[str, str] = field(default_factory=dict[str, str])
    names: dict[str, str] = field(default_factory=dict[str, str])


def is_service_link(name: str, value: str) -> bool:
    """Return whether Kubernetes or Docker adds a variable of this name and form of value for a service."""
    return any(form.fullmatch(name) and content.fullmatch(value.strip()) for form, content in _LINK_FORMS)


def service_links(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that Kubernetes or Docker added, sorted. They are ignored."""
    return sorted(name for name, value in environ.items() if is_service_link(name, value))


def read_variables(environ: Mapping[str, str], fields: Collection[str]) -> Variables:
    """Return the settings among the variables, without the quotes and blanks that env files leave around values.

    `fields` are the names of the settings in lower case. Empty values and `service_links` are left out. Raises
    ValueError for an unknown name, and for two spellings of one name with different values.
    """
    variables = Variables()
    for name, value in sorted(environ.items()):
        key = field_name(name)
        if key is None or is_service_link(name, value) or PREFIX + key.upper() in FOREIGN_VARIABLES:
            continue
        if key not in fields:
            raise ValueError(f"unknown setting {name}{_suggestion(key.upper(), fields)}")
        if not (setting := unquote(value)):
            continue
        if variables.settings.setdefault(key, setting) != setting:
            raise ValueError(f"{variables.names[key]} and {name} have different values: remove one of them")
        variables.names.setdefault(key, name)
    return variables


def field_name(variable: str) -> str | None:
    """Return the field that a variable sets, in lower case, or None if its name lacks the prefix."""
    name = variable.strip("\ufeff \t\r").upper()  # the first line of a file may begin with a byte order mark
    return name[len(PREFIX) :].lower() if name.startswith(PREFIX) else None


def unquote(value: str) -> str:
    """Return a value without surrounding blanks, line ends and one pair of quotes."""
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    return value


def _suggestion(name: str, fields: Collection[str]) -> str:
    """Return the end of the error for an unknown variable: its new name, a similar one, or where to find all."""
    if name in RENAMED:
        return f": it is called {PREFIX}{RENAMED[name]}"
    nearest = get_close_matches(name, [field.upper() for field in fields], n=1)
    return f"; did you mean {PREFIX}{nearest[0]}?" if nearest else "; `hourglass serve --help` lists all"
