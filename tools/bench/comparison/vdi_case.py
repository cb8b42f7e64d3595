"""A vendor's program behind libsqlvdi.so, which stores a SQLite database, against cp."""

from __future__ import annotations

import subprocess
from pathlib import Path

from comparison.capstan_server import CapstanServer
from comparison.comparison import Case
from comparison.contest import BenchError, Contestant, run_command
from comparison.report import Promise

CLIENT_TIMEOUT_S = 60
SET_NAME = "bench-set"

PROMISES = [
    Promise("one thread, fwrite", "sync_client", "cp", 1.15),
]


class VdiCase(Case):
    """The program and cp, each with and without waiting for the disk."""

    PROMISES = PROMISES

    def __init__(self, directory: Path, server: CapstanServer) -> None:
        super().__init__(directory, server)
        self._output = directory / "output"
        self._client = server.bin_dir / "sync_client"
        if not self._client.is_file():
            raise BenchError(
                f"there is no '{self._client}': build it with CAPSTAN_BUILD_BENCHMARKS=ON")

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
