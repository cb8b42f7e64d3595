"""One comparison from beginning to end: a database, a server of its own, rounds, tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from comparison.capstan_server import CapstanServer
from comparison.contest import BenchError, Contest, Contestant
from comparison.database import create_database, digest_of_rows, open_as_application
from comparison.memory import ProcessMemory
from comparison.report import Promise, Report

DATABASE = "bench.db"


@dataclass(frozen=True)
class Settings:
    bin_dir: Path
    size_mb: int
    runs: int
    work_dir: Path | None  # None = a temporary directory
    judge: bool  # whether the database is large enough for ratios to mean anything


class Case:
    """The contestants of one run, all in one directory, and what is promised of them."""

    PROMISES: list[Promise] = []
    MEMORY_LIMIT_MIB: int | None = None  # besides the buffers; None = not looked at

    def __init__(self, directory: Path, server: CapstanServer) -> None:
        self._directory = directory
        self._server = server
        self.database = directory / DATABASE
        self.restored = directory / "restored.db"  # must be equal at the end, if it was made

    def surroundings(self) -> AbstractContextManager[None]:
        """What has to run from prepare to the last contestant, beside the server."""
        return nullcontext()

    def prepare(self) -> None:
        """What the contestants start from."""
        self._server.add_database(self.database)

    def contestants(self) -> list[Contestant]:
        raise NotImplementedError

    def promises(self) -> list[Promise]:
        return self.PROMISES

    def processes(self) -> list[ProcessMemory]:
        """Whose memory counts."""
        return list(self._server.memory.processes.values())

    def print_more(self) -> None:
        """Tables of its own, between the times and the promises."""


def compare(settings: Settings, make_case: Callable[[Path, CapstanServer], Case]) -> None:
    if settings.work_dir is not None:
        settings.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="capstan-bench-", dir=settings.work_dir) as directory:
        _compare_in(Path(directory), settings, make_case)


def _compare_in(directory: Path, settings: Settings,
                make_case: Callable[[Path, CapstanServer], Case]) -> None:
    database = directory / DATABASE
    print(f"making a database of {settings.size_mb} MB in {directory}", flush=True)
    create_database(database, settings.size_mb)
    with (
        closing(open_as_application(database)),
        CapstanServer(settings.bin_dir, directory / "server") as server,
    ):
        case = make_case(directory, server)
        with case.surroundings():
            case.prepare()
            contest = Contest(case.contestants())
            report = Report(database.stat().st_size)
            contest.play(settings.runs, lambda text: print(text, flush=True))
        if case.restored.exists() and digest_of_rows(case.restored) != digest_of_rows(database):
            raise BenchError("the restored database differs from the one that was backed up")
        processes = case.processes()
    report.print_times(contest.results)
    case.print_more()
    if settings.judge:
        report.print_promises(case.promises(), contest.results)
    if case.MEMORY_LIMIT_MIB is not None:
        report.print_memory(processes, case.MEMORY_LIMIT_MIB)
