"""Exceptions that end a command. Each message is one sentence that names the problem and how to fix it.

TrainingError
├── RecipeError       the recipe or a --set override is invalid
├── DataError         the data is missing, broken or does not fit the recipe
├── RunError          the run folder is in use, contains another run, or its checkpoints are broken
├── Diverged          the loss, a gradient or a weight is not finite
├── Collapsed         the net returns the same output for every input
├── NothingToPlot     there are no images or results to draw
├── NotBetter         the model is worse than an answer without a model, and is not published
├── PublishError      an exported graph differs from the trained net, or the model cannot be written
├── ImportRejected    a model of another program cannot be served, or a question about it is open
└── Interrupted       a signal stopped the fit after a checkpoint was written
"""

import errno

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
OUT_OF_MEMORY_PHRASES = ("allocate memory", "out of memory", "bad_alloc")
"""Phrases by which to recognize torch and onnxruntime errors about memory, which have no class of their own."""
RESUME_HINT = "run the same command again (fit with --resume); files written so far are complete"


COMPILER_ERRORS = {"InvalidCxxCompiler", "CppCompileError", "BackendCompilerFailed", "InductorError"}
"""Names of the errors of torch.compile without a working compiler; torch is not imported here."""


EXTRA_MODULES = {
    "constriction",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "safetensors",
    "scipy",
    "sklearn",
    "torch",
}
"""Top-level modules of the extras `cpu` and `training`, which an installation for serving lacks."""
EXTRA_STATUS = 2
"""Exit status if one of them is missing: that of other errors of usage."""


class TrainingError(Exception):
    """The base class; `status` is the exit status of the command."""

    status = 1


class RecipeError(TrainingError):
    """The recipe or a `--set` override is invalid."""

    status = 2


class DataError(TrainingError):
    """The data is missing, broken or does not fit the recipe."""


class RunError(TrainingError):
    """The run folder is in use, contains another run, or its checkpoints are broken."""


class Diverged(TrainingError):
    """The loss, a gradient or a weight is not finite."""


class Collapsed(TrainingError):
    """The net returns the same output for every input."""


class NothingToPlot(TrainingError):
    """There are no images or results to draw."""


class NotBetter(TrainingError):
    """The model is worse than an answer without a model, if only for some level of noise, and is not published."""

    status = 3


class PublishError(TrainingError):
    """An exported graph differs from the trained net, or the model cannot be written."""


class ImportRejected(TrainingError):
    """A model of another program cannot be served as it is, or it is not known how it sees images."""


class Interrupted(TrainingError):
    """A signal stopped the fit after a checkpoint was written; `status` is 128 + `signal`, as in shells."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.status = 128 + signal


def is_extra_missing(error: BaseException) -> bool:
    """Whether an error says that a package of the extras `cpu` or `training` is not installed."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRA_MODULES


def exit_status(error: Exception) -> int:
    """Return the exit status of the command that an error ends."""
    if is_extra_missing(error):
        return EXTRA_STATUS
    return error.status if isinstance(error, TrainingError) else 1


def user_message(error: Exception) -> str | None:
    """Return the message of an error that the user can fix, or None for a bug, which deserves its traceback."""
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        target = error.filename or "files"
        return f"no space left to write {target} ({error.strerror}): free some space, then {RESUME_HINT}"
    if isinstance(error, MemoryError) or any(phrase in str(error) for phrase in OUT_OF_MEMORY_PHRASES):
        return f"not enough memory: reduce the net or the batch, or free memory, then {RESUME_HINT}"
    if type(error).__name__ in COMPILER_ERRORS:
        return "the net cannot be compiled, because no C++ compiler works: install g++, or set optimizer.compile=false"
    if isinstance(error, ModuleNotFoundError) and is_extra_missing(error):
        return (
            f"this needs the extra training, of which {error.name} is missing: "
            "pip install -e '.[cpu,training]' in the checkout of Hourglass"
        )
    return str(error) if isinstance(error, TrainingError | OSError) else None
