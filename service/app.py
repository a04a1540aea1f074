"""The FastAPI application: what is shared, what is routed where, how failures are answered."""

import asyncio
import os
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from service import documents, probes
from service.access import Access
from service.admission import Admission
from service.choices import Loading
from service.config import Settings
from service.documents import OperationRoute
from service.errors import InternalError, InvalidParameter, MethodNotAllowed, NotFound, Problem
from service.exchange import Exchange, State, problem_answer
from service.hardware import cores
from service.metrics import FOLDER as METRICS_FOLDER
from service.metrics import Metrics, save_often
from service.operations import OPERATIONS
from service.runner import measure_idly
from service.store import Store
from service.watch import report, watch
from service.watchdog import Watchdog


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
    app.include_router(probes.router)
    if settings.metrics:
        app.include_router(probes.counts)
    if settings.docs:
        documents.add_docs(app)
    app.openapi = lambda: documents.document(app, app.state.service)
    return app


def open_state(settings: Settings) -> State:
    """Everything requests share, nothing loaded yet."""
    share = settings.share()
    admission = Admission(items=share.queue_items, size=share.queue_bytes)
    folder = os.environ.get(METRICS_FOLDER)
    metrics = Metrics(lambda: admission.items, Path(folder) if folder else None)
    mine = max(1, cores().value // settings.workers)
    pool = ThreadPoolExecutor(mine + 1, "pool")  # one more than processors: what is small goes beside the tiles
    loading = Loading(
        device=settings.device,
        threads=settings.threads,
        max_batch=settings.max_batch,
        precision=settings.precision,
        tile_memory=(settings.tile_memory << 20) * mine,
        pool=pool,
        cores=mine,
        observe=metrics.batch,
    )
    return State(
        settings=settings,
        store=Store(settings.models, loading, old_versions=settings.old_versions),
        admission=admission,
        metrics=metrics,
        pool=pool,
        access=Access.read(settings.keys, settings.rate, settings.workers) if settings.keys else None,
    )


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
