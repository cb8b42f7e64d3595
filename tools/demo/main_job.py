#!/usr/bin/env python3
"""Runs Capstan's main job on a live copy of a real database, as tools/quickstart describes it.

Usage: main_job.py BIN_DIR

Everything happens below one new directory. Exit status 0 only if every check held.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REAL_DATABASE = Path("/usr/share/proj/proj.db")  # of the package proj-data
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 20

WRITER_PROGRAM = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
number = 0
while True:
    number += 1
    connection.execute("INSERT INTO quickstart_commits VALUES (?, ?)", (number, number * number))
    if number % 1000 == 0:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    time.sleep(0.0002)
"""


class Failed(Exception):
    """A check did not hold; the text says which."""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def check(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)
    print(f"   ok: {what}", flush=True)


class Demo:
    """One capstand, one writer process, one directory; stop() ends what start() began."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        self.binaries = binaries
        self.directory = directory
        self.data = directory / "server"
        self.live = directory / "live.db"
        self.copy = directory / "copy.db"
        self.stripes = [directory / "stripe1.bak", directory / "stripe2.bak"]
        self.shared_memory = set(os.listdir("/dev/shm"))  # other people's, before we began
        self.server: subprocess.Popen | None = None
        self.writer: subprocess.Popen | None = None

    def start_server(self) -> None:
        self.server = subprocess.Popen(
            [self.binaries / "capstand", "--data-dir", self.data],
            stdout=subprocess.PIPE, stderr=(self.directory / "capstand.log").open("wb"), text=True)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if "ready" not in line:
            raise Failed(f"capstand did not start; see {self.directory / 'capstand.log'}")
        print(f"   {line.strip()}")

    def start_writer(self) -> None:
        with sqlite3.connect(self.live) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE quickstart_commits (number INTEGER PRIMARY KEY, square)")
        self.writer = subprocess.Popen([sys.executable, "-c", WRITER_PROGRAM, str(self.live)])
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.committed(self.live) < 100:
            if time.monotonic() > deadline or self.writer.poll() is not None:
                raise Failed("the writer process commits nothing")
            time.sleep(0.01)

    @staticmethod
    def committed(database: Path) -> int:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
        try:
            return connection.execute("SELECT count(*) FROM quickstart_commits").fetchone()[0]
        finally:
            connection.close()

    def capstan(self, *arguments: object) -> None:
        command = [str(self.binaries / "capstan"), "--server",
                   f"unix:{self.data / 'capstand.sock'}", *map(str, arguments)]
        print("   $ capstan " + " ".join(command[3:]), flush=True)
        if subprocess.run(command).returncode != 0:
            raise Failed(f"capstan {arguments[0]} failed")

    def stop(self) -> None:
        for process, ending in ((self.writer, signal.SIGKILL), (self.server, signal.SIGTERM)):
            if process is None or process.poll() is not None:
                continue
            process.send_signal(ending)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.writer = None


def stock_sqlite3(database: Path, statement: str) -> str:
    return subprocess.run(["sqlite3", str(database), statement], check=True, text=True,
                          capture_output=True).stdout.strip()


def check_restored(demo: Demo, committed_before: int) -> None:
    check(stock_sqlite3(demo.copy, "PRAGMA integrity_check") == "ok",
          "the stock sqlite3 finds the restored database whole")
    count, highest, wrong = map(int, stock_sqlite3(
        demo.copy, "SELECT count(*), max(number), sum(square <> number * number) "
                   "FROM quickstart_commits").split("|"))
    check(count == highest and wrong == 0,
          f"the writer's rows are an unbroken prefix of its commits (1 to {highest})")
    check(count >= committed_before,
          f"it holds every row that was committed before the backup began ({committed_before})")


def check_nothing_left(demo: Demo) -> None:
    server = demo.server
    check(server is not None and server.returncode == 0, "capstand stopped cleanly")
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and belongs_to(pid, demo.data)]
    check(not left, "no process is left")
    sockets = [path for path in demo.data.rglob("*") if path.is_socket()]
    check(not sockets, "no socket is left")
    partial = [path for path in demo.directory.rglob(".*capstan-*")]
    check(not partial, "no unfinished file is left")
    check(set(os.listdir("/dev/shm")) <= demo.shared_memory, "no shared memory is left")


def belongs_to(pid: str, data: Path) -> bool:
    try:
        return str(data).encode() in Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return False  # it has ended meanwhile


def run(demo: Demo) -> None:
    say("1. A live database: a copy of PROJ's, while another process commits to it")
    shutil.copyfile(REAL_DATABASE, demo.live)
    demo.start_writer()
    print(f"   {demo.live}, {demo.live.stat().st_size:,} bytes")

    say("2. The server and its disk agent")
    demo.start_server()
    demo.capstan("database", "add", "proj", f"sqlite:{demo.live}")

    say("3. Backup to two striped devices")
    committed_before = demo.committed(demo.live)
    targets = [part for stripe in demo.stripes for part in ("--to", stripe)]
    demo.capstan("backup", "proj", *targets, "--init", "--checksum", "--stats", "25",
                 "--name", "quickstart", "--no-verify")  # the next step does it
    print(f"   meanwhile the writer committed {demo.committed(demo.live) - committed_before} rows")

    say("4. Verify the media, restore under another name")
    sources = [part for stripe in demo.stripes for part in ("--from", stripe)]
    demo.capstan("verify", *sources)
    demo.capstan("restore", "proj_copy", *sources, "--to", demo.copy)

    say("5. Is it right?")
    check_restored(demo, committed_before)

    say("6. History")
    demo.capstan("history")
    demo.capstan("list", "writers")

    say("7. Stop")
    demo.stop()
    check_nothing_left(demo)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix="capstan-quickstart-"))
    demo = Demo(Path(sys.argv[1]).resolve(), directory)
    try:
        run(demo)
    except (Failed, OSError, subprocess.SubprocessError, sqlite3.Error) as failure:
        print(f"\nquickstart FAILED: {failure}", file=sys.stderr)
        print(f"everything that was made is in {directory}", file=sys.stderr)
        return 1
    finally:
        demo.stop()
    print(f"\nAll of it held. The backup, the restored copy and the logs are in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
