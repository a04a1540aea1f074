"""What operators ask: is it alive, is it ready, what does it count, which models are here and why do they run so."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from service.card import Operation
from service.engine.model import LoadedModel
from service.engine.operations import OPERATIONS
from service.errors import ModelNotFound, ModelRejected
from service.http.problems import document_problems
from service.http.schemas import Choice, Health, ModelDetail, ModelList, ModelSummary, RejectedVersion
from service.state import State

router = APIRouter(tags=["service"])
metrics_router = APIRouter(tags=["service"])


def _get_state(request: Request) -> State:
    state: State = request.state.service
    return state


StateDep = Annotated[State, Depends(_get_state)]


@router.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """People who open the address in a browser see what there is."""
    return RedirectResponse("docs")


@router.get("/livez", responses={503: {"model": Health, "description": "A run hangs; the process is about to end"}})
async def livez(state: StateDep) -> Response:
    """The process answers, and what it runs comes to an end."""
    failure = state.watchdog and state.watchdog.failure
    return JSONResponse(Health(status=failure or "alive").model_dump(), 503 if failure else 200)


@router.get("/readyz", responses={503: {"model": Health, "description": "No model is loaded, or a stop has begun"}})
async def readyz(state: StateDep) -> Response:
    """At least one model is loaded and proven, and no stop has begun."""
    ready = bool(state.store.snapshot.loaded) and not state.shutting_down
    waiting = "a stop has begun" if state.shutting_down else "no model is loaded; see /models for the reasons"
    return JSONResponse(Health(status="ready" if ready else waiting).model_dump(), 200 if ready else 503)


@metrics_router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(state: StateDep) -> Response:
    """Counters and histograms in the text format of Prometheus, over all workers."""
    return Response(state.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/models")
async def models(state: StateDep) -> ModelList:
    """Every served model with what was chosen for it and why, and every refused version with its reason."""
    shelf = state.store.snapshot
    return ModelList(
        models=[_summary(state, model) for model in shelf.loaded.values()],
        rejected=[
            RejectedVersion(name=rejected.name, version=rejected.version, reason=rejected.reason)
            for _, rejected in sorted(shelf.rejected.items())
        ],
    )


@router.get("/models/{name}", responses=document_problems([ModelNotFound, ModelRejected]))
async def model(name: str, state: StateDep) -> ModelDetail:
    """One served model with its whole card: quality, baselines, parity, recipe, data."""
    found = await state.store.get(name, None)
    return ModelDetail(**_summary(state, found).model_dump(), card=found.card)


def _summary(state: State, model: LoadedModel) -> ModelSummary:
    card = model.card
    defaults: list[Operation] = [name for name in OPERATIONS if state.settings.default_model(name) == card.name]
    return ModelSummary(
        name=card.name,
        version=card.version,
        versions=sorted(state.store.snapshot.versions.get(card.name, {})),
        title=card.title,
        operations=list(model.runners),
        default_for=defaults,
        execution={
            operation: {what: Choice(value=it.value, reason=it.reason) for what, it in runner.choices.items()}
            for operation, runner in model.runners.items()
        },
    )
