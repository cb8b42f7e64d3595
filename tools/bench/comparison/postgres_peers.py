"""What people back PostgreSQL up with now: pg_basebackup and pgBackRest, each set up as its manual
advises for speed, and with everything that it writes synced."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from comparison.contest import COMMAND_TIMEOUT_S, BenchError, files_in, run_command
from comparison.memory import MemoryWatch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests" / "e2e"))

import postgres  # noqa: E402
from postgres import Cluster, Workshop  # noqa: E402

PROCESSES = 2
ARCHIVER_S = 120
STANZA = "bench"
PEER_SAMPLE_INTERVAL_S = 0.05


class PeakMemory:
    """Of every peer, the highest sum of its processes' private memory over all its runs, in KiB."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def run(self, name: str, command: Sequence[object], cluster: Cluster | None) -> None:
        """Runs a command as the clusters' account. Processes that `cluster` starts for it count."""
        pid = cluster.pid if cluster is not None and cluster.running else 0
        before = {pid, *postgres.children_of(pid)}
        watches = []
        environment = cluster.environment() if cluster is not None else {}
        process = postgres.spawn(command, environment)
        try:
            for watched in filter(None, (process.pid, pid)):
                watches.append(MemoryWatch(watched, PEER_SAMPLE_INTERVAL_S))
                watches[-1].start()
            output, _ = process.communicate(timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise BenchError(f"'{command[0]}' takes more than {COMMAND_TIMEOUT_S} s") from None
        finally:
            process.kill()
            for watch in watches:
                watch.stop()
        if process.returncode != 0:
            raise BenchError(f"{command} ended with status {process.returncode}:\n{output}")
        peak = sum(memory.private_kib for watch in watches
                   for watched, memory in watch.processes.items() if watched not in before)
        self.of[name] = max(self.of.get(name, 0), peak)


def base_backup(cluster: Cluster, target: Path, *options: str) -> list[object]:
    """Its WAL comes over a second connection, as by default; it syncs what it wrote by itself."""
    assert (folder := postgres.binaries())
    command = [folder / "pg_basebackup", "-D", target, "--checkpoint=fast", "--no-password",
               *options]
    if "-Ft" not in options:
        command += [f"--tablespace-mapping={path}={target}-{path.name}"
                    for path in cluster.tablespaces()]
    return command


class PgBackRest:
    """One stanza, of one cluster, with one repository at a time. Archiving is a part of it: the
    backup waits until the WAL that makes it consistent is in the repository."""

    def __init__(self, workshop: Workshop, cluster: Cluster) -> None:
        self._cluster = cluster
        self.folder = workshop.folder(f"pgbackrest-{cluster.name}")
        self._config = self.folder / "pgbackrest.conf"
        self.program = shutil.which("pgbackrest") or ""
        if not self.program:
            raise BenchError("there is no pgbackrest: run tools/setup")

    def settings(self) -> dict[str, object]:
        """Of the cluster. Without a repository, WAL that is switched goes nowhere."""
        push = f"test ! -e {self._config} || {self._line('archive-push')} %p"
        return {"archive_mode": "on", "archive_command": push}

    def use(self, repository: str, compression: str) -> Path:
        """From here on all goes to this repository, which is made if it is not there."""
        path = self.folder / repository
        text = f"""[global]
repo1-path={path}
repo1-retention-full=9
repo1-bundle=y
compress-type={compression}
process-max={PROCESSES}
start-fast=y
lock-path={self.folder}/lock
log-path={self.folder}
log-level-file=off
log-level-console=error
[{STANZA}]
pg1-path={self._cluster.data}
pg1-socket-path={self._cluster.sockets}
pg1-user={postgres.SUPERUSER}
"""
        if not path.exists():
            self.stop_archiving()
            path.mkdir()
            postgres.give(path)
            new_config = self.folder / "new.conf"
            new_config.write_text(text, encoding="utf-8")
            postgres.run(self.program, f"--config={new_config}", f"--stanza={STANZA}", "--no-online",
                         "stanza-create")
        self._config.write_text(text, encoding="utf-8")
        return path

    def discard(self, repository: str) -> None:
        """So that the next use makes a new one."""
        self.stop_archiving()
        shutil.rmtree(self.folder / repository, ignore_errors=True)

    def stop_archiving(self) -> None:
        """And waits for what is under way: a push that fails would be tried again a minute later."""
        self._config.unlink(missing_ok=True)
        status = self._cluster.data / "pg_wal" / "archive_status"
        deadline = time.monotonic() + ARCHIVER_S
        while any(path.suffix == ".ready" for path in status.iterdir()):
            if time.monotonic() > deadline:
                raise BenchError(f"the archiver does not finish:\n{self._cluster.log_tail()}")
            time.sleep(0.01)

    def command(self, verb: str, *options: object) -> list[object]:
        return [self.program, f"--config={self._config}", f"--stanza={STANZA}", *options, verb]

    def _line(self, verb: str) -> str:
        return " ".join(map(str, self.command(verb)))

    def do(self, verb: str, *options: object) -> str:
        try:
            return postgres.run(*map(str, self.command(verb, *options))).stdout
        except postgres.PostgresError as error:
            raise BenchError(str(error)) from None

    def expire_differentials(self) -> None:
        """So that the next one is measured against the full backup again, and has its place."""
        labels = re.findall(r'"label":"([0-9]+-[0-9]+F_[0-9]+-[0-9]+D)"',
                            self.do("info", "--output=json"))
        for label in labels:
            self.do("expire", f"--set={label}")

    def restore_options(self, target: Path) -> list[object]:
        """To the earliest consistent point, without archiving from there into the same place."""
        target.mkdir(mode=0o700)
        postgres.give(target)
        mapping = [f"--tablespace-map={path.name}={target}-{path.name}"
                   for path in self._cluster.tablespaces()]
        return [f"--pg1-path={target}", "--type=immediate", "--target-action=promote",
                "--archive-mode=off", *mapping]


def copy(source: Path, target: Path) -> None:
    """cp, durable as everybody's."""
    run_command(["cp", "-a", "--reflink=never", str(source), str(target)])
    sync(target)


def unpack(archive: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    run_command(["tar", "-xf", str(archive), "-C", str(target)])
    sync(target)


def sync(path: Path) -> None:
    """File by file: the file system as a whole may hold others' work."""
    for name in files_in(path):
        descriptor = os.open(name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
