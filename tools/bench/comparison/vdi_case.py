"""A vendor's program behind libsqlvdi.so, which stores a SQLite database, against cp."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

from comparison.capstan_server import CapstanServer
from comparison.contest import BenchError, Contest, Contestant, run_command
from comparison.database import create_database, open_as_application
from comparison.report import Promise, Report
from comparison.sqlite_case import Settings

CLIENT_TIMEOUT_S = 60
SET_NAME = "bench-set"

PROMISES = [
    Promise("one thread, fwrite", "sync_client", "cp", 1.15),
]


class VdiCase:
    """The contestants of one run, all in one directory."""

    def __init__(self, directory: Path, server: CapstanServer, client: Path) -> None:
        self._output = directory / "output"
        self._server = server
        self._client = client
        self.database = directory / "bench.db"

    def contestants(self) -> list[Contestant]:
        copy = ["cp", "--reflink=never", str(self.database), str(self._output)]
        return [
            self._contestant("sync_client", lambda: self._backup("sync_client", [])),
            self._contestant("cp", lambda: self._copy([copy])),
            self._contestant("sync_client --durable",
                             lambda: self._backup("sync_client --durable", ["--durable"])),
            self._contestant("cp + fsync", lambda: self._copy([copy, ["sync", str(self._output)]])),
        ]

    def _contestant(self, name: str, run) -> Contestant:
        return Contestant(name, run, reads=self.database, removes=[self._output])

    @staticmethod
    def _copy(commands: list[list[str]]) -> None:
        for command in commands:
            run_command(command)

    def _backup(self, name: str, options: list[str]) -> dict[str, float]:
        """What a user waits for: both processes, from the start of the first to the end of both."""
        with subprocess.Popen(
            [str(self._client), SET_NAME, str(self._output), *options],
            stdout=subprocess.PIPE, text=True, env=self._server.vdi_environment(),
        ) as client:
            try:
                if client.stdout.readline() != "ready\n":
                    raise BenchError(f"'{self._client}' could not create its device set")
                seconds = self._server.execute_backup(
                    f"BACKUP DATABASE bench TO VIRTUAL_DEVICE = '{SET_NAME}' "
                    "WITH FORMAT, MAXTRANSFERSIZE = 1048576, STATS = 100"
                )
                if client.wait(CLIENT_TIMEOUT_S) != 0:
                    raise BenchError(f"'{self._client}' ended with status {client.returncode}")
            finally:
                client.kill()
        return {f"{name}: engine": seconds}


def compare_vdi(settings: Settings) -> None:
    client = settings.bin_dir / "sync_client"
    if not client.is_file():
        raise BenchError(f"there is no '{client}': build it with CAPSTAN_BUILD_BENCHMARKS=ON")
    if settings.work_dir is not None:
        settings.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="capstan-bench-", dir=settings.work_dir) as directory:
        _compare_in(Path(directory), settings, client)


def _compare_in(directory: Path, settings: Settings, client: Path) -> None:
    database = directory / "bench.db"
    print(f"making a database of {settings.size_mb} MB in {directory}", flush=True)
    create_database(database, settings.size_mb)
    with (
        closing(open_as_application(database)),
        CapstanServer(settings.bin_dir, directory / "server") as server,
    ):
        server.add_database(database)
        contest = Contest(VdiCase(directory, server, client).contestants())
        report = Report(database.stat().st_size)
        contest.play(settings.runs, lambda text: print(text, flush=True))
    report.print_times(contest.results)
    if settings.judge:
        report.print_promises(PROMISES, contest.results)
