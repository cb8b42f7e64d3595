"""SQLite: what following the log costs the application that writes it.

One process commits as fast as it can, a round with the database under the recovery model SIMPLE (nobody
follows), then one under FULL (capstand keeps every frame of the WAL), in turns. Two loads: small commits
without a sync of their own, where the processor is the limit, and the same with synchronous = FULL, where the
disk is. A log backup to nowhere ends each followed round, so that none begins with what another has left.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from comparison.capstan_server import CapstanServer
from comparison.comparison import DATABASE, Settings
from comparison.contest import BenchError
from comparison.database import create_database
from comparison.report import verdict

SECONDS, SHORT_SECONDS = 4.0, 0.5  # at 150 MB/s less than the limit of a log that is kept (1 GiB)
SHARE = 0.95  # of the commits, while the log is followed
ALONE, FOLLOWED = "SIMPLE", "FULL"

# In a process of its own, as an application is.
APPLICATION = """
import sqlite3, sys, time
path, synchronous, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
db = sqlite3.connect(path, isolation_level=None, timeout=60)
db.execute(f"PRAGMA synchronous = {synchronous}")
db.execute("CREATE TABLE IF NOT EXISTS written(id INTEGER PRIMARY KEY, text TEXT)")
rows = [("x" * 300,)] * 40
count, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO written(text) VALUES (?)", rows)
    db.execute("UPDATE customer SET city = ? WHERE customer_id = ?", (str(count), count * 7919 % 20000 + 1))
    db.execute("COMMIT")
    count += 1
db.execute("DELETE FROM written")
print(count / seconds)
"""


@dataclass(frozen=True)
class Load:
    name: str
    synchronous: str


LOADS = [Load("no sync of its own", "NORMAL"), Load("each commit synced", "FULL")]


def compare_log(settings: Settings) -> None:
    with tempfile.TemporaryDirectory(prefix="capstan-bench-", dir=settings.work_dir) as folder:
        directory = Path(folder)
        database = directory / DATABASE
        create_database(database, settings.size_mb)
        with CapstanServer(settings.bin_dir, directory / "server") as server:
            server.add_database(database)
            for load in LOADS:
                _compare_load(settings, server, database, load)


def _compare_load(settings: Settings, server: CapstanServer, database: Path, load: Load) -> None:
    print(f"\n=== commits per second, {load.name}", flush=True)
    found: dict[str, list[float]] = {ALONE: [], FOLLOWED: []}
    for number in range(settings.runs):
        models = [ALONE, FOLLOWED]
        for model in models if number % 2 == 0 else models[::-1]:
            server.execute(f"ALTER DATABASE bench SET RECOVERY {model}")
            server.execute("BACKUP DATABASE bench TO DISK = '/dev/null' WITH FORMAT")
            found[model].append(_commits_per_second(
                database, load, SECONDS if settings.judge else SHORT_SECONDS))
            if model == FOLLOWED:
                server.execute("BACKUP LOG bench TO DISK = '/dev/null' WITH FORMAT")
    for model, rates in found.items():
        print(f"{model:30}{statistics.median(rates):>8.0f} /s{min(rates):>12.0f} - {max(rates):.0f}")
    if settings.judge:
        share = statistics.median(found[FOLLOWED]) / statistics.median(found[ALONE])
        print(f"{'ratio':30}{share:>8.2f}{SHARE:>8.2f}  {verdict(share >= SHARE)}")


def _commits_per_second(database: Path, load: Load, seconds: float) -> float:
    done = subprocess.run([sys.executable, "-c", APPLICATION, str(database), load.synchronous, str(seconds)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"the application failed:\n{done.stderr}")
    return float(done.stdout)
