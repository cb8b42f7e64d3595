"""A capstand of our own, in a directory of its own, and the statements that the benchmark sends."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from pathlib import Path

from comparison.contest import BenchError, run_command
from comparison.memory import MemoryWatch

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 20
PROGRAMS = ("capstand", "capstan-agent", "capstan")
# Message 3014: "BACKUP DATABASE successfully processed 7 pages in 0.012 seconds (4.557 MB/sec)."
COMPLETION = re.compile(r"successfully processed \d+ pages in (\d+\.\d+) seconds")


class CapstanServer:
    """Runs from `with` to its end. `bench` is the database that gets backed up."""

    def __init__(self, bin_dir: Path, data_dir: Path) -> None:
        for program in PROGRAMS:
            if not (bin_dir / program).is_file():
                raise BenchError(f"there is no '{program}' in '{bin_dir}': build it, or say --bin")
        self.bin_dir = bin_dir
        self._data_dir = data_dir
        self.socket = data_dir / "capstand.sock"
        self._log_path = data_dir / "capstand.log"

    def __enter__(self) -> CapstanServer:
        self._data_dir.mkdir()
        with open(self._log_path, "wb") as log:
            self._process = subprocess.Popen(
                [
                    str(self.bin_dir / "capstand"),
                    "--data-dir", str(self._data_dir), "--socket", str(self.socket),
                ],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )
        try:
            self._wait_until_ready()
        except BenchError:
            self.__exit__()
            raise
        self.memory = MemoryWatch(self._process.pid)
        self.memory.start()
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "memory"):
            self.memory.stop()
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        ready, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT_S)
        if not ready or "is ready" not in self._process.stdout.readline():
            raise BenchError(f"capstand did not start:\n{self._log_path.read_text()}")
        self.wait_for_agent("disk", deadline)

    def wait_for_agent(self, name: str, deadline: float | None = None) -> None:
        deadline = deadline or time.monotonic() + START_TIMEOUT_S
        while name not in self._capstan("list", "agents"):
            if time.monotonic() > deadline:
                raise BenchError(f"no {name} agent attached:\n{self._log_path.read_text()}")
            time.sleep(0.05)

    def _capstan(self, *arguments: str) -> str:
        server = ["--server", f"unix:{self.socket}"]
        return run_command([str(self.bin_dir / "capstan"), *server, *arguments])

    def add_database(self, database: Path) -> None:
        self.add("bench", f"sqlite:{database}")

    def add(self, name: str, location: str) -> None:
        self._capstan("database", "add", name, location)

    @property
    def pid(self) -> int:
        return self._process.pid

    def backup(self, targets: list[Path]) -> float:
        """Backs `bench` up on new media; the seconds that the engine says it took."""
        devices = [part for target in targets for part in ("--to", str(target))]
        return _seconds_in(self._capstan("backup", "bench", "--format", "--no-verify", "--stats",
                                         "0", *devices))

    def execute(self, statement: str) -> None:
        self._capstan("exec", statement)

    def execute_backup(self, statement: str) -> float:
        """Runs a BACKUP statement as it is; the seconds that the engine says it took."""
        return _seconds_in(self._capstan("exec", statement))

    def execute_restore(self, statement: str) -> float:
        """Runs a RESTORE statement as it is; the seconds that the engine says it took."""
        return _seconds_in(self._capstan("exec", statement))

    def vdi_environment(self) -> dict[str, str]:
        """For a program behind libsqlvdi.so that is to find this server."""
        return {**os.environ, "CAPSTAN_VDI": str(self._data_dir / "vdi.sock")}

    def restore(self, sources: list[Path], database: Path) -> float:
        """Restores to `database`, replacing what is there; the seconds that the engine says."""
        devices = [part for source in sources for part in ("--from", str(source))]
        return _seconds_in(
            self._capstan(
                "restore", "bench_copy", "--replace", "--stats", "0", "--to", str(database),
                *devices,
            )
        )


def _seconds_in(output: str) -> float:
    match = COMPLETION.search(output)
    if match is None:
        raise BenchError(f"the server's answer names no seconds:\n{output}")
    return float(match.group(1))
