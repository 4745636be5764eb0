from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol.clock import LedgerClock, advance, read_offset
from goldengrain.chaincode.protocol.errors import ClockError


def test_without_a_file_it_is_the_machines_time(tmp_path: Path) -> None:
    for clock in (LedgerClock(), LedgerClock(tmp_path / "clock")):
        assert abs(clock.now_ns() - time.time_ns()) < 10**9
        assert abs(clock.now() - int(time.time())) <= 1


def test_an_advance_is_seen_by_a_running_clock(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock = LedgerClock(path)
    assert clock.offset() == 0
    assert advance(path, 100) == 100
    assert clock.offset() == 100
    assert advance(path, 3_500) == 3_600
    assert abs(clock.now() - time.time() - 3_600) < 2
    path.unlink()
    assert clock.offset() == 0


def test_time_never_goes_back_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    with pytest.raises(ClockError):
        advance(path, -1)
    for content in ("soon", "-5", "", "1.5"):
        path.write_text(content)
        with pytest.raises(ClockError):
            LedgerClock(path).now()
        with pytest.raises(ClockError):
            advance(path, 1)
    with pytest.raises(ClockError, match="can't write"):
        advance(tmp_path / "nowhere" / "clock", 1)


def test_advances_at_once_all_count(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    threads = [threading.Thread(target=advance, args=(path, 1)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_offset(path) == 16
