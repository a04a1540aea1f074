"""Private and undocumented names of libraries that the service uses. An upgrade that removes one fails here first."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import httptools
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from PIL import Image
from starlette.routing import Match
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An application that does nothing."""


def config() -> uvicorn.Config:
    loaded = uvicorn.Config(app, log_config=None)
    loaded.load()
    return loaded


def protocol() -> HttpToolsProtocol:
    loop = asyncio.new_event_loop()
    instance = HttpToolsProtocol(config(), ServerState(), {}, loop)
    loop.close()
    instance.on_message_begin()
    return instance


def server_after_startup() -> uvicorn.Server:
    server = uvicorn.Server(config())
    server.lifespan = LifespanOn(server.config)
    asyncio.run(server.startup(sockets=[]))
    return server


def cycle() -> RequestResponseCycle:
    parameters = inspect.signature(RequestResponseCycle).parameters
    return RequestResponseCycle(**dict.fromkeys(parameters, None))  # type: ignore[arg-type]


NAMES: list[tuple[str, Callable[[], object], str, str]] = [
    (
        "uvicorn HttpToolsProtocol",
        protocol,
        "service/server/protocol.py",
        "app_state cycle flow headers loop parser pipeline transport url connection_made connection_lost data_received "
        "on_message_begin on_headers_complete on_message_complete on_response_complete send_400_response pause_writing "
        "resume_writing timeout_keep_alive_handler _unset_keepalive_if_required",
    ),
    ("uvicorn httptools_impl", lambda: httptools_impl, "service/server/protocol.py", "STATUS_LINE HttpToolsProtocol"),
    ("uvicorn FlowControl", lambda: FlowControl, "service/server/protocol.py", "resume_reading"),
    ("uvicorn FlowControl()", lambda: FlowControl(asyncio.Transport()), "service/server/data_rates.py", "read_paused"),
    (
        "uvicorn RequestResponseCycle",
        cycle,
        "service/server/protocol.py",
        "disconnected message_event response_complete response_started",
    ),
    (
        "httptools HttpRequestParser",
        lambda: httptools.HttpRequestParser,
        "service/server/protocol.py",
        "feed_data get_http_version get_method set_dangerous_leniencies should_upgrade",
    ),
    (
        "uvicorn Server",
        server_after_startup,
        "service/server/shutdown.py, service/server/worker.py and service/server/run.py",
        "_captured_signals capture_signals config force_exit handle_exit lifespan main_loop run server_state servers "
        "should_exit started startup",
    ),
    (
        "uvicorn ServerState",
        ServerState,
        "service/server/shutdown.py",
        "connections default_headers tasks total_requests",
    ),
    ("uvicorn LifespanOn", lambda: LifespanOn(config()), "service/server/shutdown.py", "state"),
    (
        "uvicorn Config",
        config,
        "service/server/shutdown.py, service/server/worker.py and service/server/run.py",
        "bind_socket encoded_headers get_loop_factory ssl timeout_graceful_shutdown",
    ),
    ("Starlette Router", lambda: FastAPI().router, "service/http/app.py", "routes redirect_slashes"),
    ("Starlette Route", lambda: APIRoute("/", lambda: None), "service/http/dispatcher.py", "matches"),
    ("Starlette Route", lambda: APIRoute("/", lambda: None), "service/http/openapi.py", "app"),
    ("Starlette Match", lambda: Match, "service/http/dispatcher.py", "FULL"),
    ("FastAPI", FastAPI, "service/http/app.py", "openapi openapi_schema routes"),
    ("Pillow Image.core", lambda: Image.core, "service/codec/png.py", "new raw_encoder zip_decoder"),
    ("Pillow Image.core", lambda: Image.core, "service/codec/truncated.py", "fill"),
    ("Pillow Image.Image", lambda: Image.new("L", (1, 1)), "service/codec/truncated.py", "im"),
    ("Pillow Image", lambda: Image, "service/codec/picture.py", "MAX_IMAGE_PIXELS preinit"),
]


@pytest.mark.parametrize(("owner", "create", "user", "names"), NAMES, ids=[f"{row[0]} in {row[2]}" for row in NAMES])
def test_private_names_exist(owner: str, create: Callable[[], object], user: str, names: str) -> None:
    instance = create()
    missing = [name for name in names.split() if not hasattr(instance, name)]
    assert not missing, f"{owner} has no {', '.join(missing)} any more, which {user} uses"
