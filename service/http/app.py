"""The FastAPI application: lifespan, routes and error handlers."""

import asyncio
import operator
import os
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from typing import Any, TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from service.config import Settings
from service.engine.model import autotune_when_idle
from service.engine.operations import OPERATIONS
from service.engine.watchdog import Watchdog
from service.errors import InternalError, InvalidParameter, MethodNotAllowed, NotFound, Problem
from service.http import management, openapi, pages
from service.http.context import RequestContext
from service.http.openapi import OperationRoute
from service.http.problems import problem_response
from service.http.v2 import OpenInference
from service.repository.watcher import load_others, log_models, watch_models
from service.state import State, create_mirror, create_state
from service.telemetry.metrics import METRICS_DIR_ENV, flush_periodically


class LifespanState(TypedDict):
    """The state that the lifespan yields to every request."""

    service: State


def create_app(settings: Settings) -> FastAPI:
    """Create the application. Its lifespan loads the models and releases them at shutdown."""
    app = FastAPI(
        title="Hourglass",
        version=version("hourglass"),
        description="Autoencoders over HTTP: encode, decode, reconstruct, denoise.",
        lifespan=partial(lifespan, settings=settings),
        openapi_url="/openapi.json" if settings.enable_docs else None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operator.attrgetter("name"),  # the name of the function in generated clients
        redirect_slashes=False,  # the dispatcher answers both spellings; redirects would lose the body or the scheme
        exception_handlers={
            Problem: problem_handler,
            HTTPException: problem_handler,
            RequestValidationError: problem_handler,
            Exception: problem_handler,
        },
    )
    app.router.routes.extend(OperationRoute(operation) for operation in OPERATIONS)
    app.router.routes.append(Route("/v2{path:path}", OpenInference(), include_in_schema=False))
    app.include_router(management.router)
    if settings.enable_metrics:
        app.include_router(management.metrics_router)
    if settings.enable_playground:
        pages.mount_playground(app)
    else:
        pages.redirect_root(app)
    if settings.enable_docs:
        pages.mount_docs(app)
    app.openapi = lambda: openapi.openapi_schema(app, app.state.service)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI, settings: Settings) -> AsyncGenerator[LifespanState]:
    """Load the default models, run the background work while the application serves, and release everything afterwards.

    The other models are loaded in the background.
    """
    state = create_state(settings)
    app.state.service = state
    await state.store.load_defaults_async(settings)
    log_models(state.store)
    tasks = [asyncio.create_task(work) for work in _background_work(state)]
    try:
        yield {"service": state}
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        state.metrics.flush()
        state.store.close()
        if state.tracer:
            await asyncio.to_thread(state.tracer.close)
        state.pool.shutdown(wait=True, cancel_futures=True)


def _background_work(state: State) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield the coroutines that run beside the requests until shutdown."""
    yield load_others(state.store)
    yield autotune_when_idle(state.store.runners, lambda: state.admission.items == 0)
    if state.settings.watchdog_timeout:
        state.watchdog = Watchdog(state.store.runners, state.settings.watchdog_timeout)
        yield state.watchdog.run()
    if METRICS_DIR_ENV in os.environ:
        yield flush_periodically(state.metrics)
    if mirror := create_mirror(state):
        from service.repository.hub.mirror import keep_updated

        polled = state.settings.model_watch != "off"
        yield keep_updated(mirror, state.store.refresh_async, state.settings.model_poll_seconds if polled else None)
    if state.settings.model_watch != "off":
        yield watch_models(state.store, state.settings.model_watch)


async def problem_handler(request: Request, error: Exception) -> Response:
    """Return the problem document of an error outside the operations; internal errors reveal only the request id."""
    context: RequestContext | None = request.scope.get("context")
    problem: Problem = InternalError("quote the id when reporting this")
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, RequestValidationError):
        problem = InvalidParameter("a parameter does not match the OpenAPI document; see /docs")
    elif isinstance(error, HTTPException):
        headers: dict[str, Any] = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"  # the dispatcher answers HEAD as GET
        if error.status_code == 405:
            problem = MethodNotAllowed("use a method of the Allow header", headers=headers)
        else:
            problem = NotFound("there is no such path; see /docs")
    if context:
        context.rejection = problem.type
    status, body, pairs = problem_response(problem, context.id if context else "")
    return Response(body, status, {name.decode(): value.decode() for name, value in pairs})
