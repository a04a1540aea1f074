"""Routes for operators: liveness, readiness, metrics and the list of models."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from service.card import Operation
from service.engine.model import LoadedModel
from service.engine.operations import OPERATIONS
from service.errors import ModelNotFound, ModelRejected
from service.http.problems import document_problems
from service.http.schemas import GraphChoice, Health, ModelDetail, ModelList, ModelSummary, RejectedVersion
from service.repository.suggestions import describe_missing
from service.state import State

UNHEALTHY_RETRY_SECONDS = 5  # Retry-After of a process that loads models, drains or will be restarted

router = APIRouter(tags=["service"])
metrics_router = APIRouter(tags=["service"])


def _get_state(request: Request) -> State:
    state: State = request.state.service
    return state


StateDep = Annotated[State, Depends(_get_state)]


def _health(status: str, *, healthy: bool) -> Response:
    headers = {} if healthy else {"Retry-After": str(UNHEALTHY_RETRY_SECONDS)}
    return JSONResponse(Health(status=status).model_dump(), 200 if healthy else 503, headers)


@router.get(
    "/livez",
    summary="Report whether the process responds",
    responses={503: {"model": Health, "description": "An inference run hangs; the process will exit"}},
)
async def livez(state: StateDep) -> Response:
    """Report whether the process responds and no inference run hangs."""
    failure = state.watchdog and state.watchdog.failure
    return _health(failure or "alive", healthy=not failure)


@router.get(
    "/readyz",
    summary="Report whether the default models can be served",
    responses={
        503: {
            "model": Health,
            "description": "No model is loaded, a default of the settings cannot be served, or a shutdown has begun",
        }
    },
)
async def readyz(state: StateDep) -> Response:
    """Report whether the default models can be served and the service is not shutting down, or else the reason."""
    reason = state.unready_reason
    return _health(reason or "ready", healthy=not reason)


@metrics_router.get(
    "/metrics",
    summary="Return the metrics in the Prometheus text format",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(state: StateDep) -> Response:
    """Return the metrics of all workers in the Prometheus text format."""
    return Response(state.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/models", summary="List the served models and the rejected versions")
async def models(state: StateDep) -> ModelList:
    """List every served model, with how it is executed and why, and every rejected version with the reason."""
    snapshot = state.store.snapshot
    defaults = _defaults(state)
    return ModelList(
        models=[_summary(state, name, defaults) for name in snapshot.serving_versions()],
        rejected=[
            RejectedVersion(name=rejected.name, version=rejected.version, reason=rejected.reason)
            for _, rejected in sorted(snapshot.rejected.items())
        ],
    )


@router.get(
    "/models/{name}",
    summary="Return one model with its card",
    responses=document_problems([ModelNotFound, ModelRejected]),
)
async def model(name: str, state: StateDep) -> ModelDetail:
    """Return one served model with its whole card: quality, baselines, parity, recipe and data."""
    if name not in state.store.snapshot.versions:
        raise ModelNotFound(describe_missing(state.store, name))
    card = await state.store.card(name)
    return ModelDetail(**_summary(state, name, _defaults(state)).model_dump(), card=card)


def _defaults(state: State) -> dict[Operation, str]:
    return {operation: state.store.default_model(operation, state.settings) for operation in OPERATIONS}


def _summary(state: State, name: str, defaults: Mapping[Operation, str]) -> ModelSummary:
    store = state.store
    snapshot = store.snapshot
    model = snapshot.loaded.get(name)
    standby = snapshot.standby.get(name)
    card = model.card if model else standby and standby.card
    return ModelSummary(
        name=name,
        version=snapshot.serving_version(name) or 0,
        versions=sorted(snapshot.versions.get(name, {})),
        title=card.title if card else "",
        operations=store.operations(name),
        default_for=[operation for operation, default in defaults.items() if default == name],
        state="loaded" if model else "loading" if standby and standby.pending else "on demand",
        execution=_execution(model) if model else {},
    )


def _execution(model: LoadedModel) -> dict[Operation, dict[str, GraphChoice]]:
    """Return the choices of every graph with their reasons."""
    return {
        operation: {
            name: GraphChoice(value=choice.value, reason=choice.reason) for name, choice in runner.choices.items()
        }
        for operation, runner in model.runners.items()
    }
