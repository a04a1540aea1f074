"""How a log line is written, for people or for machines. Knows no request and no model."""

import logging
import sys
from typing import Literal

import orjson
import structlog


def configure_logs(form: Literal["auto", "json", "human"], level: str) -> None:
    """Lines on stderr, of ours and of the libraries alike, as JSON or for people."""
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    quiet = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals are the callers' pictures
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if human
        else [structlog.processors.ExceptionRenderer(quiet), structlog.processors.JSONRenderer(_json)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells every change; the store tells what came of it


def _json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
