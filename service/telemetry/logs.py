"""Configures logging: log lines for people or as JSON, on stderr."""

import logging
import os
import select
import sys
from pathlib import Path
from typing import Literal, TextIO

import orjson
import structlog

# A pipe that is writable takes 4096 bytes without blocking. A character has at most 4 bytes.
CHUNK_CHARACTERS = 1024


class NonBlockingHandler(logging.StreamHandler[TextIO]):
    """A handler that drops log lines when the reader of the stream is slow or gone, instead of blocking."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in chunks. Drop the rest of it as soon as a write would block."""
        try:
            line = self.format(record) + self.terminator
            for start in range(0, len(line), CHUNK_CHARACTERS):
                if not _is_writable(self.stream):
                    return
                self.stream.write(line[start : start + CHUNK_CHARACTERS])
                self.flush()
        except OSError:
            return
        except Exception:  # an error in the log call, handled as in logging.StreamHandler
            self.handleError(record)


def _is_writable(stream: TextIO) -> bool:
    """Return whether a write would not block. Streams without a file descriptor count as writable."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):
        return True


def _open_null_streams() -> None:
    """Open /dev/null for closed standard streams, so that sockets cannot reuse file descriptors 0 to 2."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115 - stays open until the process ends


def configure_logging(log_format: Literal["auto", "json", "console"], level: str) -> None:
    """Write the log lines of the service and of its libraries to stderr.

    `auto` is `console` on a terminal, otherwise `json`. `level` is the lowest level written, in lower case.
    """
    _open_null_streams()
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Local variables contain the images of clients.
    without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.ExceptionRenderer(without_locals), structlog.processors.JSONRenderer(_dump_json)]
    )
    structlog.configure(
        processors=[*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = NonBlockingHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs every change; the store logs the result


def _dump_json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
