"""The FastAPI application: what is shared, what is routed where, how failures are answered."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any, TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from service.config import Settings
from service.engine.model import measure_idly
from service.engine.operations import OPERATIONS
from service.engine.watchdog import Watchdog
from service.errors import InternalError, InvalidParameter, MethodNotAllowed, NotFound, Problem
from service.http import management, openapi, pages
from service.http.context import Exchange
from service.http.openapi import OperationRoute
from service.http.problems import problem_answer
from service.repository.watcher import report, watch
from service.state import State, open_state
from service.telemetry.metrics import FOLDER as METRICS_FOLDER
from service.telemetry.metrics import save_often


class Shared(TypedDict):
    """What the lifespan yields and every request sees."""

    service: State


def create_app(settings: Settings) -> FastAPI:
    """The application of these settings; its lifespan loads the models and lets go of them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[Shared]:
        state = open_state(settings)
        app.state.service = state
        await state.store.refresh_soon()
        report(state.store)
        beside = [asyncio.create_task(measure_idly(state.store.runners, lambda: state.admission.items == 0))]
        if settings.patience:
            state.watchdog = Watchdog(state.store.runners, settings.patience)
            beside.append(asyncio.create_task(state.watchdog.attend()))
        if METRICS_FOLDER in os.environ:
            beside.append(asyncio.create_task(save_often(state.metrics)))
        if settings.watch != "off":
            beside.append(asyncio.create_task(watch(state.store, settings.watch)))
        try:
            yield {"service": state}
        finally:
            for task in beside:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            state.metrics.save()
            state.store.close()
            state.pool.shutdown(wait=True, cancel_futures=True)

    app = FastAPI(
        title="Hourglass",
        version=version("hourglass"),
        description="Autoencoders over HTTP: encode, decode, reconstruct, denoise.",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            Problem: answer_problem,
            HTTPException: answer_problem,
            RequestValidationError: answer_problem,
            Exception: answer_problem,
        },
    )
    app.router.routes.extend(OperationRoute(operation) for operation in OPERATIONS)
    app.include_router(management.router)
    if settings.metrics:
        app.include_router(management.counts)
    if settings.docs:
        pages.add_docs(app)
    app.openapi = lambda: openapi.document(app, app.state.service)
    return app


async def answer_problem(request: Request, error: Exception) -> Response:
    """Any failure outside the operations as problem+json; unknown ones say nothing but an id."""
    exchange: Exchange | None = request.scope.get("exchange")
    problem: Problem = InternalError("quote the id when reporting this")
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, RequestValidationError):
        problem = InvalidParameter("a parameter is not what the document says")
    elif isinstance(error, HTTPException):
        headers: dict[str, Any] = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"  # the front sees to that
        unknown = error.status_code != 405
        problem = (
            NotFound("GET /docs shows what there is") if unknown else MethodNotAllowed("see Allow", headers=headers)
        )
    status, body, pairs = problem_answer(problem, exchange.id if exchange else "")
    return Response(body, status, {name.decode(): value.decode() for name, value in pairs})
