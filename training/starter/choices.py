"""Chooses the tables of a recipe for a task and for data that was looked at. Every choice has its reason."""

from training.errors import DataError
from training.starter.draft import MIN_ITEMS, Draft, Task
from training.starter.image_choices import IMAGE_TASKS, denoise_draft
from training.starter.survey import ImageSurvey, TableSurvey
from training.starter.table_choices import table_draft


def choose(task: Task, seen: ImageSurvey | TableSurvey) -> Draft:
    """Return the tables for a task. Raises DataError, with what to do, if the data does not suit the task."""
    if isinstance(seen, TableSurvey):
        return table_draft(task, seen)
    if task == "denoise":
        return denoise_draft(seen)
    if seen.usable < MIN_ITEMS:
        raise DataError(
            f"{seen.path} has {seen.usable} different {'image' if seen.usable == 1 else 'images'} that can be read, "
            f"too few to learn a code from: use at least {MIN_ITEMS}, better some hundreds"
        )
    return IMAGE_TASKS[task](seen)
