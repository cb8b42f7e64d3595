"""How much memory a server and its agents take at most, and how much of that is shared buffers."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

SAMPLE_INTERVAL_S = 0.01


@dataclass
class ProcessMemory:
    """Peaks of one process, in KiB."""

    name: str
    high_water_kib: int = 0  # VmHWM: kept by the kernel, so no peak is missed
    shared_kib: int = 0  # RssShmem, the transfer buffers: the highest that a sample saw

    @property
    def private_kib(self) -> int:
        return self.high_water_kib - self.shared_kib


class MemoryWatch:
    """Samples a process and its children until stopped. Thread: one of its own."""

    def __init__(self, pid: int, interval_s: float = SAMPLE_INTERVAL_S) -> None:
        self._pid = pid
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self.processes: dict[int, ProcessMemory] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._sample(self._pid)
            for child in children_of(self._pid):
                # Between fork and exec a child's memory is its parent's, which is counted there.
                if _program_of(child) != _program_of(self._pid):
                    self._sample(child)

    def _sample(self, pid: int) -> None:
        status = _status_of(pid)
        if "VmHWM" not in status:
            return  # it has just ended
        peaks = self.processes.setdefault(pid, ProcessMemory(status["Name"]))
        peaks.high_water_kib = max(peaks.high_water_kib, _kib(status["VmHWM"]))
        peaks.shared_kib = max(peaks.shared_kib, _kib(status["RssShmem"]))


def children_of(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _program_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _status_of(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _kib(value: str) -> int:
    return int(value.split()[0])
