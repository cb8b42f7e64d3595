"""PostgreSQL: Capstan against pg_basebackup and pgBackRest, on a cluster of pgbench's tables and on
one of many small relations.

The phases follow each other on the same clusters, and each is a contest of its own: full backups,
restores, differential backups after few and after many changes, log, small relations, and what a
backup costs the application. Backups that later phases start from are made before the first.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from comparison import cpu
from comparison.capstan_server import CapstanServer
from comparison.contest import BenchError, Contest, Contestant, files_in, run_command
from comparison.postgres_data import (change_pages, configure, fill_with_pgbench,
                                      fill_with_small_relations, read_all, size_of, write_wal)
from comparison.postgres_peers import (Cluster, PeakMemory, PgBackRest, Workshop, base_backup, copy,
                                       postgres, sync, unpack)
from comparison.report import Promise, Report, verdict

NONE, LZ4, ZST = "none", "lz4", "zst"
CODINGS = {NONE: "NO_COMPRESSION", LZ4: "COMPRESSION (ALGORITHM = LZ4, LEVEL = LOW)"}
FEW, MANY = 0.001, 0.1  # of the pages
READING = "reading all"
STANDING = "standing"
SMALL_RUNS = 3
RATE_MB = 512  # written to find out how fast the disk is
LOG_MB, SHORT_LOG_MB = 256, 16
TPS_S, SHORT_TPS_S = 15, 1
TPS_CLIENTS = 2
ALONE, DURING, DURING_IN_MEMORY = "alone", "during a backup", "during one to memory"
MEMORY_LIMIT_MIB = 64  # capstand and its agents, besides the buffers

FULL = [
    Promise("full", "capstan", "pg_basebackup -Ft", 0.35),
    Promise("full", "capstan", "pgbackrest none", 0.15),
    Promise("full, LZ4", "capstan lz4", "pg_basebackup server-lz4", 1.0),
]
DIFFERENTIAL_OF_FEW = [
    Promise("differential, 0.1 %", "capstan differential", "pgbackrest differential", 0.10),
    Promise("read-bound", "capstan differential", READING, 1.3),
]
RESTORE = [
    Promise("restore", "capstan restore", "pgbackrest restore", 0.5),
    Promise("restore, until in use", "capstan restore + start", "pgbackrest restore + start", 0.5),
]
TPS_SHARE = 0.9  # of the transactions, while a backup runs at half of the disk's rate


@dataclass(frozen=True)
class PostgresSettings:
    bin_dir: Path
    scale: int  # of pgbench
    relations: int
    runs: int  # of small relations, at most SMALL_RUNS: those take a minute each
    work_dir: Path | None
    judge: bool
    peers_only: bool


def compare_postgres(settings: PostgresSettings) -> None:
    if not postgres.is_installed():
        raise BenchError("there is no PostgreSQL: run tools/setup")
    if settings.work_dir is not None:
        settings.work_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="capstan-bench-", dir=settings.work_dir) as directory,
        Workshop(settings.work_dir) as workshop,
        CapstanServer(settings.bin_dir, Path(directory) / "server") as server,
    ):
        try:
            _compare_in(settings, workshop, server)
        except postgres.PostgresError as error:
            raise BenchError(str(error)) from None
        # Not of PostgreSQL's own program, which ends a restore.
        server_memory = [process for process in server.memory.processes.values()
                         if process.name.startswith("capstan")]
    if not settings.peers_only:
        Report.print_memory(server_memory, MEMORY_LIMIT_MIB)


def _compare_in(settings: PostgresSettings, workshop: Workshop, server: CapstanServer) -> None:
    memory = PeakMemory()
    shop = Subject(settings, workshop, server, memory, "shop")
    print(f"filling shop: pgbench, scale {settings.scale}", flush=True)
    fill_with_pgbench(shop.cluster, settings.scale)
    shop.full()
    shop.make_standing()
    shop.restore()
    shop.differential(FEW)
    if settings.judge:
        shop.differential(MANY)
    shop.log()
    shop.transactions()
    shop.cluster.stop()
    subjects = [shop]
    if settings.judge:
        subjects.append(_compare_small_relations(settings, workshop, server, memory))
    for subject in subjects:
        print(f"\n{'size of backups of ' + subject.cluster.name:30}{'MB':>10}")
        for name, size in subject.sizes.items():
            print(f"{name:30}{size / 1e6:>10.1f}")
    print(f"\n{'peak memory of peers, MiB':30}{'besides shared':>16}")
    for name, kib in filter(lambda entry: entry[0], memory.of.items()):
        print(f"{name:30}{kib / 1024:>16.1f}")


def _compare_small_relations(settings: PostgresSettings, workshop: Workshop,
                             server: CapstanServer, memory: PeakMemory) -> Subject:
    fewer = replace(settings, runs=min(settings.runs, SMALL_RUNS))
    small = Subject(fewer, workshop, server, memory, "small")
    print(f"\nfilling small: {settings.relations} relations", flush=True)
    fill_with_small_relations(small.cluster, settings.relations)
    small.full()
    small.make_standing()
    small.restore()
    return small


class Capstan:
    """The statements about one cluster."""

    def __init__(self, server: CapstanServer, name: str, cluster: Cluster) -> None:
        self._server = server
        self._name = name
        server.add(name, f"postgresql:{cluster.info()}")

    def back_up(self, target: Path, *options: str, log: bool = False) -> float:
        """WITH CHECKSUM: every peer verifies the checksums of pages, too."""
        what = "LOG" if log else "DATABASE"
        words = ["FORMAT", "CHECKSUM", "STATS = 100", *(options or [CODINGS[NONE]])]
        return self._server.execute_backup(
            f"BACKUP {what} {self._name} TO DISK = '{target}' WITH {', '.join(words)}")

    def restore(self, source: Path, target: Path, end: str) -> float:
        return self._server.execute_restore(
            f"RESTORE DATABASE {self._name}_copy FROM DISK = '{source}' WITH REPLACE, STATS = 100, "
            f"MOVE '{self._name}' TO '{target}', {end}")


class Subject:
    """One cluster, and everybody who backs it up."""

    def __init__(self, settings: PostgresSettings, workshop: Workshop, server: CapstanServer,
                 memory: PeakMemory, name: str) -> None:
        self._settings = settings
        self._server = server
        self._memory = memory
        self._name = name
        self.cluster = workshop.cluster(name, durable=True)
        self._pgbackrest = PgBackRest(workshop, self.cluster)
        configure(self.cluster, self._pgbackrest.settings())
        self._workshop = workshop
        self._out = workshop.folder(f"out-{name}")  # everybody writes here
        # What restores and differentials start from.
        self._standing = workshop.folder(f"standing-{name}")
        self.sizes: dict[str, int] = {}
        self.capstan = (None if settings.peers_only
                        else Capstan(server, name, self.cluster))

    # --- rounds ---------------------------------------------------------------------------------

    def _play(self, title: str, contestants: list[Contestant], promises: list[Promise],
              data_bytes: int | None = None) -> None:
        print(f"\n=== {self._name}: {title}", flush=True)

        def used() -> float:
            return (cpu.of_commands() + cpu.of_tree(self._server.pid)
                    + (cpu.of_tree(self.cluster.pid) if self.cluster.running else 0.0))

        contest = Contest(contestants, used)
        report = Report(data_bytes or size_of(self.cluster))
        contest.play(self._settings.runs, lambda text: print(text, flush=True))
        report.print_times(contest.results)
        if self._settings.judge and promises and self.capstan:
            report.print_promises(promises, contest.results)

    def _contestant(self, name: str, run: Callable[[], dict[str, float] | None],
                    removes: list[Path], reads: Path | None = None,
                    prepare: Callable[[], None] | None = None) -> Contestant:
        return Contestant(name, run, reads=reads or self.cluster.data, removes=removes,
                          prepare=prepare)

    def _weighed(self, contestant: Contestant, result: Path) -> Contestant:
        """Notes how large what it leaves is."""
        run = contestant.run

        def run_and_weigh() -> dict[str, float] | None:
            reported = run()
            self.sizes[contestant.name] = sum(
                file.stat().st_size for file in files_in(result) if "latest" not in file.parts)
            return reported

        contestant.run = run_and_weigh
        return contestant

    def _peer(self, name: str, command: list[object], removes: list[Path],
              prepare: Callable[[], None] | None = None) -> Contestant:
        return self._contestant(name, lambda: self._memory.run(name, command, self.cluster),
                                removes, prepare=prepare)

    # --- full -----------------------------------------------------------------------------------

    def full(self) -> None:
        found = [self._capstan_full(coding) for coding in CODINGS if self.capstan]
        for name, options in (("plain", []), ("-Ft", ["-Ft"]),
                              ("server-lz4", ["-Ft", "--compress=server-lz4:1"])):
            target = self._out / "basebackup"
            found.append(self._weighed(self._peer(
                f"pg_basebackup {name}", base_backup(self.cluster, target, *options), [target]),
                target))
        found += [self._pgbackrest_full(coding)
                  for coding in ((NONE, LZ4, ZST) if self._settings.judge else (LZ4,))]
        found.append(self._contestant(READING, lambda: read_all(self.cluster.data), []))
        self._play("full backup", found, FULL)

    def _capstan_full(self, coding: str) -> Contestant:
        name = "capstan" if coding == NONE else f"capstan {coding}"
        target = self._out / "full.bak"
        assert (capstan := self.capstan)
        return self._weighed(self._contestant(
            name, lambda: {f"{name}: engine": capstan.back_up(target, CODINGS[coding])}, [target]),
            target)

    def _pgbackrest_full(self, coding: str) -> Contestant:
        def prepare() -> None:
            self._pgbackrest.discard("full")
            self._pgbackrest.use("full", coding)

        repository = self._pgbackrest.folder / "full"
        return self._weighed(self._peer(
            f"pgbackrest {coding}", self._pgbackrest.command("backup", "--type=full"),
            [repository / "backup"], prepare), repository)

    def make_standing(self) -> None:
        """Backups that stay."""
        for name, options in (("plain", []), ("tar", ["-Ft"])):
            self._memory.run("", base_backup(self.cluster, self._standing / name, *options),
                             self.cluster)
        self._pgbackrest.use(STANDING, NONE)
        self._pgbackrest.do("backup", "--type=full")
        if self.capstan:
            self.capstan.back_up(self._standing / "full.bak")

    # --- restore --------------------------------------------------------------------------------

    def restore(self) -> None:
        """Into an empty folder. `+ start`: until the stock server takes connections."""
        repository = self._pgbackrest.use(STANDING, NONE)
        target = self._out / "restored"
        plain, tar = self._standing / "plain", self._standing / "tar"

        def pgbackrest() -> None:
            options = self._pgbackrest.restore_options(target)
            self._memory.run("pgbackrest restore", self._pgbackrest.command("restore", *options),
                             None)

        found = []
        if self.capstan:
            found += self._capstan_restores(self.capstan, target)
        found += [
            self._contestant("pgbackrest restore", pgbackrest, [target], repository),
            self._contestant("pgbackrest restore + start", lambda: self._until_in_use(
                pgbackrest, target), [target], repository),
        ]
        found += [] if not self._settings.judge else [
            self._contestant("cp + fsync of a plain one", lambda: copy(plain, target), [target],
                             plain),
            self._contestant("tar -x + fsync of a -Ft one",
                             lambda: unpack(tar / "base.tar", target), [target], tar),
        ]
        self._play("restore", found, RESTORE)

    def _capstan_restores(self, capstan: Capstan, target: Path) -> list[Contestant]:
        source = self._standing / "full.bak"

        def files() -> dict[str, float]:
            return {"capstan restore: engine": capstan.restore(source, target, "NORECOVERY")}

        def ready() -> None:
            capstan.restore(source, target, "RECOVERY")

        return [
            self._contestant("capstan restore", files, [target], source),
            self._contestant("capstan restore + start", lambda: self._until_in_use(ready, target),
                             [target], source),
        ]

    def _until_in_use(self, restore: Callable[[], None], target: Path) -> None:
        restore()
        restored = self._workshop.adopt(target, "restored")
        restored.start()
        restored.wait_until_primary()
        restored.stop(immediate=True)

    # --- differential and log -------------------------------------------------------------------

    def differential(self, share: float) -> None:
        change_pages(self.cluster, share)
        self._pgbackrest.use(STANDING, NONE)
        target = self._out / "differential.bak"
        found = []
        if capstan := self.capstan:
            found.append(self._contestant("capstan differential", lambda: {
                "capstan differential: engine": capstan.back_up(
                    target, "DIFFERENTIAL", CODINGS[NONE])}, [target]))
        found += [
            self._peer("pgbackrest differential",
                       self._pgbackrest.command("backup", "--type=diff"), [],
                       self._pgbackrest.expire_differentials),
            self._contestant(READING, lambda: read_all(self.cluster.data), []),
        ]
        self._play(f"differential backup, {share:.1%} of the pages changed", found,
                   DIFFERENTIAL_OF_FEW if share == FEW else [])

    def log(self) -> None:
        """Peers archive segments one by one while the server works: this is what that costs."""
        megabytes = LOG_MB if self._settings.judge else SHORT_LOG_MB
        target = self._out / "log"
        segments: list[Path] = []

        def prepare() -> None:
            if self.capstan:
                self.capstan.back_up(self._out / "before.trn", CODINGS[NONE], log=True)
                (self._out / "before.trn").unlink()
            self._pgbackrest.stop_archiving()
            segments[:] = write_wal(self.cluster, megabytes)
            self._pgbackrest.discard("log")
            self._pgbackrest.use("log", NONE)

        def push() -> None:
            for segment in segments:
                self._memory.run("pgbackrest archive-push",
                                 [*self._pgbackrest.command("archive-push"), segment], None)

        def copy_segments() -> None:
            target.mkdir()
            run_command(["cp", *map(str, segments), str(target)])
            sync(target)

        found = []
        if capstan := self.capstan:
            found.append(self._contestant("capstan log", lambda: {
                "capstan log: engine": capstan.back_up(target, CODINGS[NONE], log=True)},
                [target], prepare=prepare))
        found += [
            self._contestant("pgbackrest archive-push", push, [], prepare=prepare),
            self._contestant("cp + fsync of segments", copy_segments, [target], prepare=prepare),
        ]
        self._play(f"{megabytes} MB of log", found, [], megabytes << 20)

    # --- what a backup costs the application ----------------------------------------------------

    def transactions(self) -> None:
        """pgbench's, alone and while one backup follows the other at half of the disk's rate: to the
        disk that its commits wait for as well, and to memory, which leaves what reading costs."""
        disk = disk_rate_mb(self._out)
        with tempfile.TemporaryDirectory(prefix="capstan-bench-", dir="/dev/shm") as memory:
            self._count_transactions(disk, {ALONE: None, **({} if self.capstan is None else {
                DURING: self._out / "full.bak", DURING_IN_MEMORY: Path(memory) / "full.bak"})})

    def _count_transactions(self, disk: int, targets: dict[str, Path | None]) -> None:
        print(f"\n=== {self._name}: transactions during a backup "
              f"(disk {disk} MB/s, MAXRATE {disk // 2})", flush=True)
        found: dict[str, list[float]] = {}
        for number in range(self._settings.runs):
            ways = list(targets)
            for way in ways if number % 2 == 0 else ways[::-1]:
                target = targets[way]
                with (Backups(self.capstan, target, disk // 2) if self.capstan and target
                      else nullcontext()):
                    found.setdefault(way, []).append(self._pgbench())
        for way, rates in found.items():
            print(f"{way:30}{statistics.median(rates):>8.0f} /s"
                  f"{min(rates):>12.0f} - {max(rates):.0f}")
        if self._settings.judge and self.capstan:
            for way in (DURING, DURING_IN_MEMORY):
                share = statistics.median(found[way]) / statistics.median(found[ALONE])
                print(f"{'ratio, ' + way:30}{share:>8.2f}{TPS_SHARE:>8.2f}"
                      f"  {verdict(share >= TPS_SHARE)}")

    def _pgbench(self) -> float:
        self.cluster.sql("CHECKPOINT")
        seconds = TPS_S if self._settings.judge else SHORT_TPS_S
        output = self.cluster.tool("pgbench", "-n", "-c", TPS_CLIENTS, "-j", 1, "-T", seconds, "-M",
                                   "prepared", postgres.SUPERUSER_DATABASE).stdout
        match = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
        if match is None:
            raise BenchError(f"pgbench names no rate:\n{output}")
        return float(match[1])


class Backups:
    """One full backup after the other, from `with` to its end. Thread: one of its own."""

    def __init__(self, capstan: Capstan, target: Path, rate_mb: int) -> None:
        self._capstan = capstan
        self._target = target
        self._rate_mb = rate_mb
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backups")
        self._error: BenchError | None = None
        self._count = 0

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._capstan.back_up(self._target, CODINGS[NONE], "COPY_ONLY",
                                      f"MAXRATE = {max(1, self._rate_mb)}")
        except BenchError as error:
            self._error = error
        self._target.unlink(missing_ok=True)


def disk_rate_mb(folder: Path) -> int:
    """What dd writes past the page cache."""
    target = folder / "rate"
    begin = time.perf_counter()
    run_command(["dd", "if=/dev/zero", f"of={target}", "bs=1M", f"count={RATE_MB}", "oflag=direct",
                 "conv=fsync"])
    seconds = time.perf_counter() - begin
    target.unlink()
    return max(1, round(RATE_MB / seconds))
