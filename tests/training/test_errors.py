"""Errors of libraries as sentences that say what to do."""

import pytest
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

from tests.support.compatibility import refuses
from training.errors import COMPILER_ERRORS, user_message


@refuses(28, "`compile=true` without a compiler", because="one sentence with the remedy")
@pytest.mark.parametrize("kind", [InvalidCxxCompiler, CppCompileError, BackendCompilerFailed])
def test_a_missing_compiler_is_explained(kind: type[Exception]) -> None:
    assert kind.__name__ in COMPILER_ERRORS
    assert "set optimizer.compile=false" in str(user_message(kind.__new__(kind)))
