"""Runs backup programs of vendors against a server of their own.

A VendorTestCase has one capstand (tests/e2e/harness.py) and starts clients in an environment where
libsqlvdi and sqlcmd find it. Success is judged as a vendor has to: message 3014 came, 3013 did not,
and the server closed every device.

The middle of a transfer is certain, not likely: the client's file is a FIFO (see Strait), which the
test fills or empties as far as it wants. Everything then stands still until the test goes on.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "e2e"))

# What tests need of it comes from here, too.
from harness import (PATIENCE_S, PROMPT_S, Outcome, Programs,  # noqa: E402, F401
                     ServerTestCase, check_prefix, committing, content_of, die_with_parent, finish,
                     main, wait_for)

PROJ_DATABASE = Path("/usr/share/proj/proj.db")
# What clients print of a set that was aborted: VD_E_ABORT.
ABORTED = "x80770004"


@dataclass(frozen=True)
class Ended:
    """How a client ended, and all that it and its sqlcmd printed."""

    exit_code: int
    text: str
    seconds: float

    @property
    def numbers(self) -> list[int]:
        return [int(number) for number in re.findall(r"^Msg (\d+),", self.text, re.MULTILINE)]

    @property
    def succeeded(self) -> bool:
        """By the statement's own words."""
        return " successfully processed " in self.text and 3013 not in self.numbers

    @property
    def devices_closed(self) -> int:
        return len(re.findall(r"^Device \d+ was closed by the server$", self.text, re.MULTILINE))

    def describe(self) -> str:
        return f"exit status {self.exit_code} after {self.seconds:.1f} s\n{self.text}"


class Client:
    """A client at work, with its sqlcmd and whatever else it starts: one session of processes."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path,
                 file_size_max: int | None) -> None:
        def prepare() -> None:
            die_with_parent()
            if file_size_max is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_max, file_size_max))

        self.log = log
        self.begin = time.monotonic()
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=prepare)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for_text(self, text: str) -> None:
        def has_it() -> bool:
            if self.process.poll() is not None and text not in self.text:
                raise AssertionError(f"the client ended without '{text}':\n{self.text}")
            return text in self.text
        wait_for(has_it, f"'{text}' from the client")

    def kill(self) -> float:
        """kill -9 of the client itself; its sqlcmd goes on. Returns when."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        return time.monotonic()

    def wait(self) -> Ended:
        """Waits for the client, and for whatever it left running: a killed one leaves sqlcmd."""
        try:
            status = self.process.wait(PATIENCE_S)
            wait_for(lambda: not self.alive(), "the end of the client's children")
        except (subprocess.TimeoutExpired, AssertionError):
            self.destroy()
            raise AssertionError(f"{self.process.args} hangs; so far:\n{self.text}") from None
        return Ended(status, self.text, time.monotonic() - self.begin)

    def alive(self) -> bool:
        self.process.poll()
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def destroy(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


class Strait:
    """A FIFO in the place of a client's file: what passes is up to the test.

    The test's end is opened by `stop_after`, which lets that many bytes pass; then the client
    blocks in read or write, in the middle of a command. `go_on` lets the rest pass.
    """

    def __init__(self, path: Path, feed: bytes | None = None) -> None:
        """With `feed`, the client reads those bytes; without, the test reads what it writes."""
        self.path = path
        self.feed = feed
        self.passed = 0
        self._end = -1
        self._rest: threading.Thread | None = None
        os.mkfifo(path)

    def stop_after(self, size: int) -> None:
        """Returns when that many bytes have passed: the client has opened its device by then."""
        # Without blocking at first, so that a client that never comes fails the test, not hangs it.
        wait_for(self._first_byte, f"a client at {self.path.name}")
        os.set_blocking(self._end, True)
        while self.passed < size:
            passed = self._pass(min(size - self.passed, 65536))
            if passed == 0:
                raise AssertionError(f"the client has closed {self.path.name} early")
            self.passed += passed

    def go_on(self) -> None:
        """The rest passes in a thread, until either side ends."""
        def rest() -> None:
            with suppress(BrokenPipeError):
                while (size := self._pass(1 << 20)) > 0:
                    self.passed += size
            os.close(self._end)
            self._end = -1
        self._rest = threading.Thread(target=rest)
        self._rest.start()

    def close(self) -> None:
        if self._rest is not None:
            self._rest.join(PATIENCE_S)
        elif self._end >= 0:
            os.close(self._end)

    def _first_byte(self) -> bool:
        with suppress(OSError):  # to write: nobody reads yet; to read: nothing is written yet
            if self._end < 0:
                way = os.O_RDONLY if self.feed is None else os.O_WRONLY
                self._end = os.open(self.path, way | os.O_NONBLOCK)
            self.passed += self._pass(1)
        return self.passed > 0

    def _pass(self, size: int) -> int:
        if self.feed is not None:
            return os.write(self._end, self.feed[self.passed:self.passed + size])
        return len(os.read(self._end, size))


class VendorTestCase(ServerTestCase):
    """A test with a server, and clients that find it."""

    def setUp(self) -> None:
        super().setUp()
        self._clients: list[Client] = []
        # Before the server is closed: cleanups run in reverse.
        self.addCleanup(self._check_clients)

    def _check_clients(self) -> None:
        left = [client for client in self._clients if client.alive()]
        for client in left:
            client.destroy()
        self.assertEqual([client.process.args for client in left], [], "clients left running")

    # --- clients --------------------------------------------------------------------------------

    def start(self, program: str, *arguments: object, file_size_max: int | None = None) -> Client:
        environment = {
            **os.environ,
            "PATH": f"{Programs.folder}:{os.environ['PATH']}",
            "CAPSTAN_SERVER": f"unix:{self.server.socket}",
            "CAPSTAN_VDI": str(self.server.data / "vdi.sock"),
        }
        command = [str(Programs.path("vdi_clients") / program), *map(str, arguments)]
        client = Client(command, environment,
                        self.server.root / f"client-{len(self._clients) + 1}.log", file_size_max)
        self._clients.append(client)
        return client

    def run_client(self, program: str, *arguments: object, **options: int) -> Ended:
        return self.start(program, *arguments, **options).wait()

    def pipe(self, direction: str, database: str, file: object, password: str = "none") -> Client:
        return self.start("pipe_client", direction, "D", database, "sa", password, file)

    # --- databases ------------------------------------------------------------------------------

    def add_proj(self) -> Path:
        """The PROJ library's database: rollback journal, real tables."""
        path = self.server.db / "proj.db"
        path.write_bytes(PROJ_DATABASE.read_bytes())
        self.server.attach("proj", path)
        return path

    def add_wal(self, size: int = 4 << 20) -> Path:
        """A database whose latest commits are in its WAL only."""
        path = self.server.next_database(size=size)
        # Kept open, so that SQLite does not put the WAL back.
        writer = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(writer.close)
        self._writer = writer
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE item SET name = 'in the log' WHERE id % 7 = 0")
        self.assertGreater(path.with_name(path.name + "-wal").stat().st_size, 0)
        return path

    def spoil(self, path: Path) -> None:
        """Makes the database another one, so that only a restore brings its contents back."""
        if getattr(self, "_writer", None) is not None:
            self._writer.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            tables = [row[0] for row in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
            for table in tables:
                db.execute(f'DROP TABLE "{table}"')
            db.execute("CREATE TABLE spoilt (x)")

    # --- claims ---------------------------------------------------------------------------------

    def assert_transferred(self, ended: Ended, statement: str, devices: int = 1) -> Ended:
        """Success of any client but pipe_client, whose exit status says nothing."""
        self.assertEqual(ended.exit_code, 0, ended.describe() + self.server.log_tail())
        self.assertIn(f"{statement} DATABASE successfully processed ", ended.text)
        self.assertNotIn(3013, ended.numbers, ended.describe())
        self.assertEqual(ended.devices_closed, devices, ended.describe())
        return ended

    def assert_piped(self, ended: Ended, statement: str) -> Ended:
        """Success of pipe_client, as its output shows it."""
        self.assertEqual(ended.exit_code, 0, ended.describe())
        self.assertIn("Successfully completed data transfer.\n", ended.text,
                      ended.describe() + self.server.log_tail())
        self.assertIn(f"{statement} DATABASE successfully processed ", ended.text)
        self.assertEqual(ended.numbers, [], ended.describe())
        return ended

    def assert_failed(self, ended: Ended, *numbers: int, statement: str = "BACKUP") -> Ended:
        """The statement ended with these errors, then 3013."""
        self.assertEqual(ended.numbers, [*numbers, 3013], ended.describe() + self.server.log_tail())
        self.assertIn(f"{statement} DATABASE is terminating abnormally.", ended.text)
        self.assertNotIn(" successfully processed ", ended.text)
        return ended

    def assert_nobody_there(self, outcome: Outcome, name: str) -> None:
        """The statement names a set that no client has created: 18210 with the cause, then 3013;
        3201 may stand between them."""
        self.assertEqual((outcome.numbers[0], outcome.numbers[-1]), (18210, 3013),
                         outcome.describe())
        self.assertLessEqual(set(outcome.numbers), {18210, 3201, 3013})
        self.assertIn(f"'{name}'", outcome.messages[0].text)
        self.assertIn("0x80070002(", outcome.messages[0].text)

    def assert_round_trip(self, path: Path, back_up: Callable[[], Ended],
                          restore: Callable[[], Ended]) -> None:
        """What `restore` brings back is what `back_up` took."""
        before = content_of(path)
        back_up()
        self.spoil(path)
        self.assertNotEqual(content_of(path), before)
        restore()
        self.assertEqual(content_of(path), before)

    def assert_nothing_new(self) -> None:
        """No history, no job, nothing half done."""
        self.assertEqual(self.server.backup_sets(), [])
        wait_for(lambda: not self.server.running_jobs(), "the end of the job")
        self.assertEqual(self.server.journal(), [])
