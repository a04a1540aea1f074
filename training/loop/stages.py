"""Fits the stages of a recipe one after another, each from the best weights of the one before.

The first stage is the recipe itself. A stopped fit is resumed in the stage in which it was stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import save

from training import atomic_files
from training.data import Dataset
from training.loop.checkpoint import has_checkpoint
from training.loop.device import CPU, Compute
from training.loop.distributed import SINGLE_PROCESS, ProcessGroup
from training.loop.fit import FitResult, ProgressCallback, ValidationCallback, fit
from training.loop.run_folder import STAGE_WEIGHTS_FILE
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class StageRun:
    """The recipe of a stage, and its run folder."""

    recipe: Recipe
    folder: Path


def stage_runs(recipe: Recipe, folder: Path) -> list[StageRun]:
    """Return the stages of a recipe that is fitted in a run folder, in their order; without `[[stages]]` it is one.

    The last recipe is the one to publish. It keeps the list of the stages, for the card.
    """
    recipes = [recipe.model_copy(update={"stages": []}), *(recipe.of_stage(stage) for stage in recipe.stages)]
    recipes[-1] = recipes[-1].model_copy(update={"stages": recipe.stages})
    folders = [folder, *(folder / stage.name for stage in recipe.stages)]
    return [StageRun(*pair) for pair in zip(recipes, folders, strict=True)]


def fit_stages(
    runs: Sequence[StageRun],
    data: Dataset,
    on_step: ProgressCallback,
    *,
    on_validation: ValidationCallback | None = None,
    resume: bool | None = None,
    init: Path | None = None,
    process_group: ProcessGroup = SINGLE_PROCESS,
    compute: Compute = CPU,
) -> FitResult:
    """Fit all stages, and return the net of the last with the steps and seconds of all of them.

    The other arguments and the exceptions are those of `training.loop.fit.fit`; `init` is for the first stage.
    """
    results: list[FitResult] = []
    for number, run in enumerate(runs):
        resumed = bool(number and resume and has_checkpoint(run.folder))
        fitted = fit(
            run.recipe,
            data,
            run.folder,
            on_step,
            on_validation=on_validation,
            resume=resume if resumed or not number or resume is False else None,
            init=None if resumed else init,
            process_group=process_group,
            compute=compute,
        )
        results.append(fitted)
        if run is not runs[-1]:
            init = run.folder / STAGE_WEIGHTS_FILE
            if process_group.is_main:
                weights = {name: tensor.contiguous() for name, tensor in fitted.net.state_dict().items()}
                atomic_files.write_atomic(init, save(weights))
            process_group.barrier()
    steps, seconds = sum(result.steps for result in results), sum(result.seconds for result in results)
    return replace(results[-1], steps=steps, seconds=seconds)
