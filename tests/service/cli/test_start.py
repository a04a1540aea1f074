"""Start of the command line: what it imports, and the garbage collector meanwhile."""

import gc
import subprocess
import sys

import pytest

from service.cli.start import paused_collection


def test_collection_is_paused_and_resumes() -> None:
    frozen = gc.get_freeze_count()
    try:
        with paused_collection():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen  # what was imported is exempt
    finally:
        gc.unfreeze()


def test_collection_resumes_after_a_failed_import() -> None:
    with pytest.raises(ImportError), paused_collection():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()


def test_server_is_imported_without_rate_limits() -> None:
    code = "import sys, service.server.run; sys.exit('limits' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
