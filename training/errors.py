"""Everything that can stop a command, drawn as a tree; each message is one sentence that says the mend.

TrainingError
├── RecipeError       the recipe or a --set does not say what can be done
├── DataError         the data is missing, broken or does not fit the recipe
├── RunError          the run folder is in use, holds another recipe, or its checkpoints are broken
├── Diverged          the loss is no finite number any more
├── Collapsed         the net answers every input with the same output
├── NothingToPlot     the model answers no pictures
├── PublishError      an exported graph is not what was trained
└── Interrupted       a signal came; a checkpoint was written
"""

import errno

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
OUT_OF_MEMORY_PHRASES = ("allocate memory", "out of memory", "bad_alloc")
"""What torch and onnxruntime say, in errors of no class of their own."""
RESUME_HINT = "give the same command again, fit with --resume: what was written before is whole"


COMPILER_ERRORS = {"InvalidCxxCompiler", "CppCompileError", "BackendCompilerFailed", "InductorError"}
"""Names of the errors of torch.compile without a working compiler; torch is not imported here."""


class TrainingError(Exception):
    """The base; `status` is the exit status of the command."""

    status = 1


class RecipeError(TrainingError):
    status = 2


class DataError(TrainingError):
    pass


class RunError(TrainingError):
    pass


class Diverged(TrainingError):
    pass


class Collapsed(TrainingError):
    pass


class NothingToPlot(TrainingError):
    pass


class PublishError(TrainingError):
    pass


class Interrupted(TrainingError):
    """`status` is 128 and the signal's number, as shells have it."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.status = 128 + signal


def user_message(error: Exception) -> str | None:
    """What a person is told of an error that a command may end with; None where it is a mistake in this program."""
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        what = error.filename or "files"
        return f"there is no room left to write {what} ({error.strerror}): make room and {RESUME_HINT}"
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY_PHRASES):
        return f"there is not enough memory: fit a smaller net or batch, or free some and {RESUME_HINT}"
    if type(error).__name__ in COMPILER_ERRORS:
        return "the net cannot be compiled, because no C++ compiler works: install g++, or set optimizer.compile=false"
    return str(error) if isinstance(error, TrainingError | OSError) else None
