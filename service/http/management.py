"""What operators ask: is it alive, is it ready, what does it count, which models are here and why do they run so."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from service.card import Operation
from service.engine.model import Autoencoder
from service.engine.operations import OPERATIONS
from service.errors import ModelNotFound, ModelRefused
from service.http.problems import problem_responses
from service.http.schemas import Health, ModelDetail, ModelList, ModelSummary, Reason, Refusal
from service.state import State

router = APIRouter(tags=["service"])
counts = APIRouter(tags=["service"])


def _state(request: Request) -> State:
    state: State = request.state.service
    return state


Shared = Annotated[State, Depends(_state)]


@router.get("/", include_in_schema=False)
async def index() -> RedirectResponse:
    """People who open the address in a browser see what there is."""
    return RedirectResponse("docs")


@router.get("/livez", responses={503: {"model": Health, "description": "A run hangs; the process is about to end"}})
async def livez(state: Shared) -> Response:
    """The process answers, and what it runs comes to an end."""
    stuck = state.watchdog and state.watchdog.verdict
    return JSONResponse(Health(status=stuck or "alive").model_dump(), 503 if stuck else 200)


@router.get("/readyz", responses={503: {"model": Health, "description": "No model is loaded, or a stop has begun"}})
async def readyz(state: Shared) -> Response:
    """At least one model is loaded and proven, and no stop has begun."""
    ready = bool(state.store.shelf.loaded) and not state.leaving
    waiting = "a stop has begun" if state.leaving else "no model is loaded; see /models for the reasons"
    return JSONResponse(Health(status="ready" if ready else waiting).model_dump(), 200 if ready else 503)


@counts.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(state: Shared) -> Response:
    """Counters and histograms in the text format of Prometheus, over all workers."""
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/models")
async def models(state: Shared) -> ModelList:
    """Every served model with what was chosen for it and why, and every refused version with its reason."""
    shelf = state.store.shelf
    return ModelList(
        models=[_summary(state, model) for model in shelf.loaded.values()],
        refused=[
            Refusal(name=name, version=version, reason=reason)
            for (name, version), (_, reason) in sorted(shelf.refused.items())
        ],
    )


@router.get("/models/{name}", responses=problem_responses([ModelNotFound, ModelRefused]))
async def model(name: str, state: Shared) -> ModelDetail:
    """One served model with its whole card: quality, baselines, parity, recipe, data."""
    found = await state.store.get(name, None)
    return ModelDetail(**_summary(state, found).model_dump(), card=found.card)


def _summary(state: State, model: Autoencoder) -> ModelSummary:
    card = model.card
    defaults: list[Operation] = [name for name in OPERATIONS if state.settings.default(name) == card.name]
    return ModelSummary(
        name=card.name,
        version=card.version,
        versions=sorted(state.store.shelf.versions.get(card.name, {})),
        title=card.title,
        operations=list(model.runners),
        default_for=defaults,
        runs={
            operation: {what: Reason(value=it.value, reason=it.reason) for what, it in runner.choices.items()}
            for operation, runner in model.runners.items()
        },
    )
