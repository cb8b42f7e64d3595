"""Runs the whole product for a test: capstand, its agent, the disk plugin and the command line.

A CapstanServer is one server in a temporary directory of its own. Whatever a test does to it, its
end is checked: exit status 0 on SIGTERM, no process left, no socket, no unfinished medium or
database, no job in the journal. The binaries come from --bin (see main).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1] / "support"
sys.path.insert(0, str(SUPPORT))
MTF_EXTRACT = SUPPORT / "mtf_extract.py"
WRITER_PROGRAM = Path(__file__).resolve().with_name("committing_writer.py")

# Marks every process of a server in /proc/*/environ, since agents inherit it.
MARKER = "CAPSTAN_E2E_SERVER"
# What an unfinished or badly ended job leaves on disk.
LEFTOVERS = re.compile(r"\.capstan-(partial|restore|aside)")
PATIENCE_S = 60.0  # nothing takes longer, however busy the machine is: expiry is a hang
PROMPT_S = 15.0  # what waits for nothing takes less, and every deadline of the server longer

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Programs:
    """Where the binaries are; set by main."""

    folder = Path()

    @classmethod
    def path(cls, name: str) -> Path:
        return cls.folder / name


@dataclass(frozen=True)
class Message:
    """An error as the command line prints it."""

    number: int
    severity: int
    state: int
    line: int
    text: str
    hint: str


_HEAD = re.compile(r"^Msg (\d+), Level (\d+), State (\d+)(?:, Server [^,]+)?, Line (\d+)$")


def parse_messages(stderr: str) -> list[Message]:
    """Errors among the lines of standard error; a text ends at the next error or hint."""
    messages: list[Message] = []
    lines = stderr.splitlines()
    for index, line in enumerate(lines):
        head = _HEAD.match(line)
        if head is None:
            continue
        text: list[str] = []
        hint: list[str] = []
        for following in lines[index + 1:]:
            if _HEAD.match(following):
                break
            if following.startswith("HINT: ") or hint:
                hint.append(following.removeprefix("HINT: "))
            else:
                text.append(following)
        number, severity, state, line_number = (int(group) for group in head.groups())
        messages.append(Message(number, severity, state, line_number, "\n".join(text),
                                "\n".join(hint)))
    return messages


@dataclass(frozen=True)
class Outcome:
    """How one run of the command line ended."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def messages(self) -> list[Message]:
        return parse_messages(self.stderr)

    @property
    def numbers(self) -> list[int]:
        return [message.number for message in self.messages]

    def describe(self) -> str:
        return (f"exit status {self.exit_code} after {self.seconds:.1f} s\n"
                f"stdout: {self.stdout}\nstderr: {self.stderr}")


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE_S,
             interval_s: float = 0.02) -> object:
    """Polls until the condition is true, and returns what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(interval_s)


def die_with_parent() -> None:
    """Between fork and exec: a test that is killed leaves no server behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def processes_with(marker: str) -> list[int]:
    """Processes whose environment holds the marker; zombies have none."""
    found = []
    wanted = f"{MARKER}={marker}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # gone meanwhile, or not ours
    return found


def program_of(pid: int) -> str:
    """Name of a process's program; empty if it has ended."""
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    except OSError:
        return ""


def quoted(text: object) -> str:
    """As an N'...' literal."""
    return "N'" + str(text).replace("'", "''") + "'"


def toml(value: object) -> str:
    """A value of the configuration; a dict becomes an inline table."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


def bracketed(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


def disks(*paths: object) -> str:
    return ", ".join(f"DISK = {quoted(path)}" for path in paths)


class CapstanServer:
    """One server and its directory: data/ (catalog, logs, sockets), media/ and db/ for the test."""

    # Short, so that faults end soon; every one of them may still be missed by a slow machine.
    TIMEOUTS = {"device_timeout_s": 20, "open_timeout_s": 20, "database_timeout_s": 3,
                "recover_timeout_s": 2, "agent_lease_s": 3, "virtual_device_wait_s": 1}

    def __init__(self, user: int | None = None, start: bool = True, **settings: object) -> None:
        # The system's own: a socket's path may have 107 bytes, and TMPDIR may be deep.
        self.root = Path(tempfile.mkdtemp(prefix="capstan-", dir="/tmp"))
        self.data, self.media, self.db = (self.root / n for n in ("data", "media", "db"))
        for folder in (self.data, self.media, self.db):
            folder.mkdir()
        self.user = user
        if user is not None:
            for folder in (self.root, self.data, self.media, self.db):
                os.chown(folder, user, user)
        self.socket = self.data / "capstand.sock"
        # Where the test's own statements go: with passwords, by the entrance that needs none.
        self.own_socket = (self.data / "owner" / "capstand.sock"
                           if settings.get("authentication") == "password" else self.socket)
        self.errorlog = self.data / "log" / "ERRORLOG"
        self.console = self.root / "console.log"  # standard error of the server and its agents
        self.config = self.root / "capstand.toml"
        self.settings = {"data_dir": str(self.data), **self.TIMEOUTS, **settings}
        self.process: subprocess.Popen[str] | None = None
        if start:
            self.start()

    # --- life -----------------------------------------------------------------------------------

    def start(self, wait_for_agent: bool = True) -> None:
        """Returns once the server has said that it is ready, and its agent is attached."""
        lines = [f"{key} = {toml(value)}" for key, value in self.settings.items()]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with open(self.console, "ab") as console:
            self.process = subprocess.Popen(
                [Programs.path("capstand"), "--config", self.config],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=console, text=True,
                env={**os.environ, MARKER: str(self.root)}, preexec_fn=die_with_parent,
                user=self.user, group=self.user,
                extra_groups=None if self.user is None else [])
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        if " is ready on unix:" not in ready:
            self.process.wait(PATIENCE_S)
            raise AssertionError(f"capstand did not start: {ready!r}\n{self.log_tail()}")
        if wait_for_agent and self.settings.get("start_agents", True):
            wait_for(self.agent_attached, "the disk agent")

    def agent_attached(self) -> bool:
        rows = self.query("SELECT pid FROM sys.dm_backup_agents"
                          " WHERE agent_name = 'disk' AND attached_at IS NOT NULL")
        return any(program_of(int(str(row["pid"]))) for row in rows)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def agent_pid(self) -> int:
        """Of the running agent; waits while the supervisor starts one."""
        def running() -> list[int]:
            return [pid for pid in processes_with(str(self.root))
                    if program_of(pid) == "capstan-agent"]
        return wait_for(running, "an agent process")[0]  # type: ignore[index]

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def kill(self) -> None:
        """kill -9, as a crash would. Agents of a dead server are given time to end, too."""
        assert self.process is not None
        self.process.kill()
        self._reap()
        wait_for(lambda: not processes_with(str(self.root)), "the end of a killed server's agents")

    def _reap(self) -> int:
        assert self.process is not None
        status = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return status

    def close(self, test: unittest.TestCase) -> None:
        """Stops the server, checks that nothing is left of it, and removes its directory."""
        try:
            status = 0 if self.process is None else self.terminate()
            test.assertEqual(status, 0, f"exit status on SIGTERM\n{self.log_tail()}")
            test.assertEqual(processes_with(str(self.root)), [], "processes left")
            self.check_no_leftovers(test)
            test.assertEqual([str(path) for path in self.root.rglob("*") if path.is_socket()], [],
                             "sockets left")
            test.assertEqual(self.journal(), [], "jobs left in the journal")
        finally:
            for pid in processes_with(str(self.root)):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.root, ignore_errors=True)

    def check_no_leftovers(self, test: unittest.TestCase) -> None:
        test.assertEqual(self.leftovers(), [], "unfinished files left")

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.root.rglob("*") if LEFTOVERS.search(path.name)]

    def journal(self) -> list[str]:
        """Statements of jobs that were begun and neither finished nor undone."""
        with closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            return [row[0] for row in catalog.execute("SELECT statement FROM catalog_job")]

    def log_tail(self) -> str:
        return "".join(self.console.read_text(errors="replace").splitlines(keepends=True)[-40:])

    # --- the command line -----------------------------------------------------------------------

    def popen(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(Programs.path("capstan")), "--server", f"unix:{self.own_socket}",
             *(str(argument) for argument in arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)

    def run(self, *arguments: object) -> Outcome:
        begin = time.monotonic()
        return finish(self.popen(*arguments), begin)

    def exec(self, statement: str) -> Outcome:
        """Errors are on standard error, all else on standard output."""
        return self.run("exec", statement)

    def query(self, statement: str) -> list[dict[str, object]]:
        """The rows of one result set."""
        outcome = self.run("exec", "--json", statement)
        if outcome.exit_code != 0:
            raise AssertionError(f"{statement}\n{outcome.describe()}\n{self.log_tail()}")
        rows: list[dict[str, object]] = json.loads(outcome.stdout)
        return rows

    def attach(self, name: str, location: object, scheme: str = "sqlite") -> None:
        outcome = self.run("database", "add", name, f"{scheme}:{location}")
        if outcome.exit_code != 0:
            raise AssertionError(f"database add {name}\n{outcome.describe()}")

    # --- shorthands -----------------------------------------------------------------------------

    def backup(self, database: str, *paths: object, options: str = "") -> Outcome:
        return self.exec(f"BACKUP DATABASE {bracketed(database)} TO {disks(*paths)}"
                         + (f" WITH {options}" if options else ""))

    def restore(self, database: str, *paths: object, options: str = "") -> Outcome:
        return self.exec(f"RESTORE DATABASE {bracketed(database)} FROM {disks(*paths)}"
                         + (f" WITH {options}" if options else ""))

    def verify(self, *paths: object) -> Outcome:
        return self.exec(f"RESTORE VERIFYONLY FROM {disks(*paths)}")

    def backup_sets(self) -> list[dict[str, object]]:
        return self.query("SELECT database_name, name, backup_set_id FROM msdb.dbo.backupset"
                          " ORDER BY backup_set_id")

    def running_jobs(self) -> list[dict[str, object]]:
        return self.query("SELECT session_id, command, database_name, percent_complete"
                          " FROM sys.dm_exec_requests")

    def next_database(self, folder: Path | None = None, name: str = "source",
                      size: int = 1 << 20) -> Path:
        """A new database of that size, registered under its name."""
        path = (folder or self.db) / f"{name}.db"
        make_database(path, size)
        if self.user is not None:
            os.chown(path, self.user, self.user)
        self.attach(name, path)
        return path


def finish(process: subprocess.Popen[str], begin: float) -> Outcome:
    """Waits for a command line that popen started."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE_S * 2)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"{process.args} hangs; so far:\n{stdout}\n{stderr}") from None
    return Outcome(process.returncode, stdout, stderr, time.monotonic() - begin)


# --- databases ----------------------------------------------------------------------------------


def make_database(path: Path, size: int, page_size: int = 4096, journal_mode: str = "wal") -> None:
    """A database of about `size` bytes of text that does not repeat, with an index."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute(f"PRAGMA journal_mode = {journal_mode}")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, body BLOB)")
        db.execute("CREATE INDEX item_name ON item (name)")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO item SELECT i, 'item ' || (i * 7919 % 100003), randomblob(4000) FROM n",
            (max(1, size // 4096),))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def content_of(path: Path) -> str:
    """Everything in a database as text, after an integrity check."""
    with closing(sqlite3.connect(path)) as db:
        result = db.execute("PRAGMA integrity_check").fetchall()
        if result != [("ok",)]:
            raise AssertionError(f"{path}: {result[:3]}")
        return "\n".join(db.iterdump())


class CommittingWriter:
    """A process that commits numbered rows to a database as fast as it can."""

    def __init__(self, path: Path, journal_mode: str) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(WRITER_PROGRAM), str(path), journal_mode],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "committing\n":
            raise AssertionError("the writer did not start")

    def committed(self) -> int:
        """Rows that are in the database now."""
        with closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as db:
            return int(db.execute("SELECT count(*) FROM ledger").fetchone()[0])

    def stop(self) -> None:
        """Fails if the writer met an error, such as a lock that was held for too long."""
        self._process.terminate()
        status = self._process.wait(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        if status != 0:
            raise AssertionError(f"the writer ended with {status}")


@contextmanager
def committing(path: Path, journal_mode: str) -> Iterator[CommittingWriter]:
    writer = CommittingWriter(path, journal_mode)
    try:
        yield writer
    finally:
        writer.stop()


def check_prefix(path: Path) -> int:
    """Checks that a copy of a CommittingWriter's database is one state that it had; returns how
    many rows it had committed then."""
    with closing(sqlite3.connect(path)) as db:
        result = db.execute("PRAGMA integrity_check").fetchall()
        if result != [("ok",)]:
            raise AssertionError(f"{path}: {result[:3]}")
        count, least, most, total = db.execute(
            "SELECT count(*), min(n), max(n), sum(amount) FROM ledger").fetchone()
        balance, = db.execute("SELECT total FROM balance").fetchone()
        last, = db.execute("SELECT total FROM ledger WHERE n = ?", (most,)).fetchone()
    if (least, most) != (1, count) or not total == balance == last:
        raise AssertionError(f"{path}: rows {least}..{most}, {count} of them; sums {total}, "
                             f"{balance}, {last}")
    return int(count)


# --- tests --------------------------------------------------------------------------------------


class ServerTestCase(unittest.TestCase):
    """A test with a server of its own; `settings` are keys of its configuration."""

    settings: dict[str, object] = {}
    server: CapstanServer

    def setUp(self) -> None:
        self.server = CapstanServer(**self.settings)
        self.addCleanup(self._close)

    def _close(self) -> None:
        self.server.close(self)

    def assert_done(self, outcome: Outcome) -> Outcome:
        self.assertEqual(outcome.exit_code, 0, outcome.describe() + self.server.log_tail())
        return outcome

    def assert_error(self, outcome: Outcome, number: int, *parts: object,
                     terminated: str | None = "BACKUP DATABASE") -> Message:
        """One error with that number that names all parts in text or hint, then 3013 unless
        `terminated` is None."""
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        expected = [number] if terminated is None else [number, 3013]
        self.assertEqual(outcome.numbers, expected, outcome.describe())
        if terminated is not None:
            self.assertEqual(outcome.messages[1].text,
                             f"{terminated} is terminating abnormally.")
        message = outcome.messages[0]
        for part in parts:
            self.assertIn(str(part), f"{message.text}\n{message.hint}")
        return message

    def assert_works(self, database: str = "source") -> None:
        """What must hold after every fault: an ordinary backup is made, listed and sound."""
        before = len(self.server.backup_sets())
        path = self.server.media / f"after-{before}-{time.monotonic_ns()}.bak"
        self.assert_done(self.server.backup(database, path))
        self.assert_done(self.server.verify(path))
        self.assertEqual(len(self.server.backup_sets()), before + 1)
        path.unlink()
        self.server.check_no_leftovers(self)


def main() -> None:
    """unittest.main, with --bin in front: the folder of capstand, capstan-agent and capstan."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bin", type=Path, default=os.environ.get("CAPSTAN_BIN"))
    options, rest = parser.parse_known_args()
    if options.bin is None:
        parser.error("name the folder of the programs: --bin build/release/bin")
    Programs.folder = options.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
