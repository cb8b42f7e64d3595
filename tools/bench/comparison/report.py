"""The tables at the end: times, promises and memory."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass

from comparison.contest import Result
from comparison.memory import ProcessMemory


@dataclass(frozen=True)
class Promise:
    """`contestant` takes at most `limit` times as long as `peer`."""

    job: str
    contestant: str
    peer: str
    limit: float


def verdict(kept: bool) -> str:
    return "met" if kept else "MISSED"


class Report:
    """Prints; keeps only what was true when the contest began."""

    def __init__(self, database_bytes: int) -> None:
        self._database_bytes = database_bytes
        self._load_before = os.getloadavg()[0]

    def print_times(self, results: dict[str, Result]) -> None:
        print(
            f"\n{self._database_bytes / 1e6:.0f} MB, {os.cpu_count()} processors, "
            f"Linux {platform.release()}, load {self._load_before:.1f} before and "
            f"{os.getloadavg()[0]:.1f} after\n"
        )
        with_cpu = any(result.cpu_seconds for result in results.values())
        print(f"{'':30}{'median':>10}{'min - max':>18}{'MB/s':>8}" + f"{'CPU':>9}" * with_cpu)
        for result in results.values():
            spread = f"{min(result.seconds):.3f} - {max(result.seconds):.3f}"
            rate = self._database_bytes / 1e6 / max(result.median, 1e-3)
            cpu = f"{statistics.median(result.cpu_seconds):>7.2f} s" if result.cpu_seconds else ""
            print(f"{result.name:30}{result.median:>8.3f} s{spread:>18}{rate:>8.0f}{cpu}")

    @staticmethod
    def print_promises(promises: list[Promise], results: dict[str, Result]) -> None:
        print(f"\n{'promise':32}{'peer':28}{'ratio':>8}{'limit':>8}")
        for promise in promises:
            peer = results[promise.peer].median
            ratio = results[promise.contestant].median / max(peer, 1e-3)
            print(
                f"{promise.job:32}{promise.peer:28}{ratio:>8.2f}{promise.limit:>8.2f}"
                f"  {verdict(ratio <= promise.limit)}"
            )

    @staticmethod
    def print_memory(processes: list[ProcessMemory], limit_mib: int) -> None:
        print(f"\n{'peak memory, MiB':30}{'VmHWM':>10}{'buffers':>10}{'the rest':>10}")
        for process in processes:
            figures = (process.high_water_kib, process.shared_kib, process.private_kib)
            print(f"{process.name:30}" + "".join(f"{kib / 1024:>10.1f}" for kib in figures))
        rest = sum(process.private_kib for process in processes) / 1024
        print(
            f"{'all but buffers':30}{rest:>30.1f}{limit_mib:>8}  {verdict(rest <= limit_mib)}"
        )
