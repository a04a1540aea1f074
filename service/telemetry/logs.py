"""How a log line is written, for people or for machines. Knows no request and no model."""

import logging
import os
import select
import sys
from pathlib import Path
from typing import Literal, TextIO

import orjson
import structlog

CHUNK_CHARACTERS = 1024  # characters, so that it has at most the bytes that a pipe takes at once where it takes any


class NonBlockingHandler(logging.StreamHandler[TextIO]):
    """Drops what nobody takes: a reader of the log that has stopped, or has gone, must not stop the service."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + self.terminator
            for at in range(0, len(line), CHUNK_CHARACTERS):
                if not _is_writable(self.stream):
                    return
                self.stream.write(line[at : at + CHUNK_CHARACTERS])
                self.flush()
        except OSError:
            return
        except Exception:  # of ours, as logging treats it
            self.handleError(record)


def _is_writable(stream: TextIO) -> bool:
    """Whether a write would not wait; of what cannot say so, as no file of the system, it is believed."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):
        return True


def _open_null_streams() -> None:
    """Nothing in the place of streams that were closed before the start, so that no socket gets their numbers."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115 - for the life of the process


def configure_logging(log_format: Literal["auto", "json", "console"], level: str) -> None:
    """Lines on stderr, of ours and of the libraries alike, as JSON or for people."""
    _open_null_streams()
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    quiet = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals are the callers' pictures
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.ExceptionRenderer(quiet), structlog.processors.JSONRenderer(_dump_json)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = NonBlockingHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells every change; the store tells what came of it


def _dump_json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
