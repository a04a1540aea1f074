"""Run folders and signals."""

import os
import signal
from pathlib import Path
from threading import Thread

import pytest

from training.errors import RunError
from training.loop.run_folder import LOG_FILE, locked, read_log, write_log
from training.loop.signals import Stop, polite_signals, raising_signals


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with locked(folder), pytest.raises(RunError, match="in use"), locked(folder):
        pass
    with locked(folder):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_once_and_then_acts_as_ever(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with polite_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.signal == number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    found: list[Stop] = []

    def enter() -> None:
        with polite_signals() as stop:
            found.append(stop)

    thread = Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [Stop(None)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_outside_the_loop_a_signal_is_an_interruption_with_its_number(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stop, raising_signals():
        os.kill(os.getpid(), number)
    assert stop.value.args == (number,)
    assert signal.getsignal(number) == before


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    records = [{"epoch": 1, "train": {"loss": 0.1 + 0.2}, "validation": None}, {"epoch": 2}]
    write_log(tmp_path, records)
    assert read_log(tmp_path) == records
    (tmp_path / LOG_FILE).write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(RunError, match=r"log.jsonl is broken .*: remove it"):
        read_log(tmp_path)
