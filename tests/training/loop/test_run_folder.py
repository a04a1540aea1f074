"""Run folders and signals."""

import os
import signal
from pathlib import Path
from threading import Thread

import pytest

from training.errors import RunError
from training.loop.run_folder import LOG_FILE, lock_run_folder, read_log, write_log
from training.loop.signals import StopRequest, interrupt_on_signal, stop_on_signal


def test_run_folder_is_locked(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with lock_run_folder(folder), pytest.raises(RunError, match="in use"), lock_run_folder(folder):
        pass
    with lock_run_folder(folder):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_has_its_default_action(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signal() as stop:
        os.kill(os.getpid(), number)
        assert stop.signal == number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_signals_are_untouched_outside_the_main_thread() -> None:
    requests: list[StopRequest] = []

    def enter() -> None:
        with stop_on_signal() as stop:
            requests.append(stop)

    thread = Thread(target=enter)
    thread.start()
    thread.join()
    assert requests == [StopRequest(None)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_outside_the_loop_raises_interrupted(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stop, interrupt_on_signal():
        os.kill(os.getpid(), number)
    assert stop.value.args == (number,)
    assert signal.getsignal(number) == before


def test_log_round_trip_keeps_records(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    records = [{"epoch": 1, "train": {"loss": 0.1 + 0.2}, "validation": None}, {"epoch": 2}]
    write_log(tmp_path, records)
    assert read_log(tmp_path) == records
    (tmp_path / LOG_FILE).write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(RunError, match=r"log.jsonl is broken .*: delete it"):
        read_log(tmp_path)
