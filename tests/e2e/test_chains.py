"""Chains of backups from outside: long ones, damaged ones, broken ones, and how restores of them end.

A Teller commits numbered rows all the time and notes when, so that every restored database can be
held against what it must have been (bank.Journal).

  CAPSTAN_CHAINS_LONG=1 python3 tests/e2e/test_chains.py --bin build/release/bin Long
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bank import Journal, SqliteBank, now_us
from harness import Outcome, ServerTestCase, disks, main, make_database, quoted
from test_bank import moment_text

SEED = int(os.environ.get("CAPSTAN_CHAINS_SEED", str(time.time_ns() % 1_000_000)))
IS_LONG = os.environ.get("CAPSTAN_CHAINS_LONG", "") not in ("", "0")
NAME = "shop"
BUSY_TIMEOUT_S = 60
PAUSE_S = 0.004


class Teller:
    """Commits rows 1, 2, 3, ... to a database until it is stopped. Thread: one of its own."""

    def __init__(self, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.journal = Journal()
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._stopping = threading.Event()
        self._error: Exception | None = None
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS ledger (n INTEGER PRIMARY KEY, note TEXT)")
        self._thread = threading.Thread(target=self._work, name="teller")
        self._thread.start()

    def _work(self) -> None:
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None,
                                         timeout=self._busy_timeout_s)) as db:
                n = db.execute("SELECT coalesce(max(n), 0) FROM ledger").fetchone()[0]
                while not self._stopping.wait(PAUSE_S):
                    n += 1
                    db.execute("BEGIN IMMEDIATE")
                    db.execute("INSERT INTO ledger VALUES (?, ?)", (n, "x" * (n * 37 % 900)))
                    self.journal.begun[n] = now_us()
                    db.execute("COMMIT")
                    self.journal.done[n] = now_us()
        except sqlite3.Error as error:
            self._error = error

    def stop(self) -> Exception | None:
        """What ended it, if it was not this."""
        self._stopping.set()
        self._thread.join(2 * BUSY_TIMEOUT_S)
        return self._error


def rows_in(path: Path) -> int:
    """How many rows a sound copy of a teller's database has: 1 to n, without a gap."""
    with closing(sqlite3.connect(path)) as db:
        result = db.execute("PRAGMA integrity_check").fetchall()
        count, least, most = db.execute(
            "SELECT count(*), coalesce(min(n), 1), coalesce(max(n), 0) FROM ledger").fetchone()
    if result != [("ok",)] or (least, most) != (1, count):
        raise AssertionError(f"{path}: rows {least} to {most}, {count} of them; {result[:3]}")
    return int(count)


@dataclass
class Member:
    """A backup that has been made, and when."""

    kind: str  # as in backupset
    path: Path
    begin: int
    end: int


class ChainTestCase(ServerTestCase):
    """A database `shop`, a list of its backups, and a copy that is restored beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.server.db / "shop.db"
        self.copy = self.server.db / "copy.db"
        make_database(self.path, 1 << 20)
        self.server.attach(NAME, self.path)
        self.members: list[Member] = []
        self.said = ""  # by the last backup
        self.move = f"MOVE '{NAME}' TO {quoted(self.copy)}, REPLACE"

    @contextmanager
    def teller(self) -> Iterator[Teller]:
        teller = Teller(self.path)
        try:
            yield teller
        finally:
            error = teller.stop()
        if error is not None:
            raise error

    def add_rows(self, count: int) -> int:
        """Commits so many more; returns how many there are."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("CREATE TABLE IF NOT EXISTS ledger (n INTEGER PRIMARY KEY, note TEXT)")
            first = db.execute("SELECT coalesce(max(n), 0) FROM ledger").fetchone()[0] + 1
            for n in range(first, first + count):
                db.execute("INSERT INTO ledger VALUES (?, 'row')", (n,))
        return int(first + count - 1)

    # --- statements -----------------------------------------------------------------------------

    def statement(self, kind: str, options: str = "") -> str:
        verb = "LOG" if kind == "L" else "DATABASE"
        words = ["FORMAT", *(["DIFFERENTIAL"] if kind == "I" else []),
                 *([options] if options else [])]
        return f"BACKUP {verb} {NAME} TO {disks(self.next_path())} WITH {', '.join(words)}"

    def next_path(self) -> Path:
        return self.server.media / f"{len(self.members):04}.bak"

    def take(self, kind: str, options: str = "") -> Member:
        begin = now_us()
        path = self.next_path()
        self.said = self.assert_done(self.server.exec(self.statement(kind, options))).stdout
        self.members.append(Member(kind, path, begin, now_us()))
        return self.members[-1]

    def put_back(self, member: Member, options: str = "NORECOVERY") -> Outcome:
        """Of the copy: one member of its chain."""
        verb = "LOG" if member.kind == "L" else "DATABASE"
        move = f"{self.move}, " if member.kind == "D" else ""
        return self.server.exec(
            f"RESTORE {verb} copy FROM {disks(member.path)} WITH {move}{options}")

    def put_all_back(self, members: list[Member]) -> None:
        for member in members:
            self.assert_done(self.put_back(member))
        self.assert_done(self.server.exec("RESTORE DATABASE copy WITH RECOVERY"))

    def restore_to(self, moment: int | None, options: str = "") -> Outcome:
        stop = "" if moment is None else f", STOPAT = '{moment_text(moment)}'"
        return self.server.exec(f"RESTORE DATABASE copy FROM CATALOG SOURCE = '{NAME}'"
                                f" WITH {self.move}{stop}{options}")

    def check_rows(self, journal: Journal, moment: int) -> None:
        rows = rows_in(self.copy)
        self.assertGreaterEqual(rows, journal.at_least(moment - SqliteBank.accuracy_us))
        self.assertLessEqual(rows, journal.at_most(moment))


class Rules(ChainTestCase):
    """What follows what."""

    def test_log_needs_a_full_backup_and_the_full_recovery_model(self) -> None:
        """S0-58, S1-23."""
        self.add_rows(3)
        statement = self.statement("L")
        self.assert_error(self.server.exec(statement), 4214, terminated="BACKUP LOG")
        self.take("D")
        self.add_rows(3)
        self.take("L")
        self.assert_done(self.server.exec(f"ALTER DATABASE {NAME} SET RECOVERY SIMPLE"))
        self.assert_error(self.server.exec(self.statement("L")), 4208, "SIMPLE",
                          terminated="BACKUP LOG")
        self.take("D")
        rows = self.add_rows(3)
        self.take("I")
        self.put_all_back([self.members[-2], self.members[-1]])
        self.assertEqual(rows_in(self.copy), rows)
        # Back again: log begins with the next full or differential backup.
        self.assert_done(self.server.exec(f"ALTER DATABASE {NAME} SET RECOVERY FULL"))
        before = self.lsns(self.members[1])[1]
        bridge = self.take("D")
        rows = self.add_rows(3)
        log = self.take("L")
        self.assertIn(f"from LSN {before} to LSN {self.lsns(log)[0]} is in no backup. A full backup",
                      self.said)
        self.put_all_back([bridge, log])
        self.assertEqual(rows_in(self.copy), rows)
        self.take("L")
        self.assertNotIn("is in no backup", self.said)

    def test_a_read_only_database_says_so(self) -> None:
        """S2-21: full backups only; HEADERONLY and the history tell them from others."""
        self.add_rows(3)
        before = self.take("D")
        with closing(sqlite3.connect(self.path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.path.chmod(0o444)
        for kind, verb in (("I", "BACKUP DATABASE"), ("L", "BACKUP LOG")):
            self.assert_error(self.server.exec(self.statement(kind)), 3906, NAME, terminated=verb)
        during = self.take("D", "COPY_ONLY")
        self.path.chmod(0o644)
        after = self.take("I")
        headers = [self.server.query(f"RESTORE HEADERONLY FROM {disks(member.path)}")[0]
                   for member in (before, during, after)]
        found = [(header["IsReadOnly"], int(str(header["Flags"])) & 4) for header in headers]
        self.assertEqual(found, [(False, 0), (True, 4), (False, 0)])
        self.assertEqual([row["is_readonly"] for row in self.server.query(
            "SELECT is_readonly FROM msdb.dbo.backupset ORDER BY backup_set_id")],
            [False, True, False])

    def test_each_kind_is_restorable(self) -> None:
        """S1-24, S1-32: any differential and its base are enough; S1-61: RECOVERY alone."""
        self.add_rows(5)
        full = self.take("D")
        at_first = self.add_rows(5)
        first = self.take("I")
        at_second = self.add_rows(5)
        second = self.take("I")
        at_log = self.add_rows(5)
        log = self.take("L")
        for chain, rows in (([full], 5), ([full, first], at_first), ([full, second], at_second),
                            ([full, second, log], at_log), ([full, log], at_log)):
            with self.subTest(rows=rows):
                self.put_all_back(chain)
                self.assertEqual(rows_in(self.copy), rows)

    def test_gaps_and_strangers_are_named(self) -> None:
        """S1-60: 4305 names the first LSN that is missing; and its neighbours."""
        self.add_rows(5)
        self.take("D")
        logs = []
        for _ in range(3):
            self.add_rows(3)
            logs.append(self.take("L"))
        self.assert_error(self.put_back(logs[0]), 3118, "copy", terminated="RESTORE LOG")
        self.assert_error(self.server.exec(
            f"RESTORE LOG {NAME} FROM {disks(logs[0].path)}"), 3117, terminated="RESTORE LOG")
        self.assert_done(self.put_back(self.members[0]))
        self.assert_done(self.put_back(logs[0]))
        needed = self.lsns(logs[0])[1]
        self.assert_error(self.put_back(logs[2]), 4305, self.lsns(logs[2])[0], needed,
                          terminated="RESTORE LOG")
        self.assert_done(self.put_back(logs[1]))
        self.assert_error(self.put_back(logs[0]), 4326, terminated="RESTORE LOG")
        self.assert_done(self.put_back(logs[2], "RECOVERY"))
        self.assertEqual(rows_in(self.copy), 14)
        # A differential backup goes with its own base alone.
        self.take("D")
        self.add_rows(1)
        stranger = self.take("I")
        self.assert_done(self.put_back(self.members[0]))
        self.assert_error(self.put_back(stranger), 3136, terminated="RESTORE DATABASE")
        self.assert_done(self.server.exec("RESTORE DATABASE copy WITH RECOVERY"))

    def lsns(self, member: Member) -> tuple[str, str]:
        (row,) = self.server.query(f"RESTORE HEADERONLY FROM {disks(member.path)}")
        return str(row["FirstLSN"]), str(row["LastLSN"])

    def test_standby_is_read_between_logs(self) -> None:
        """S1-36, S1-61."""
        self.add_rows(5)
        self.take("D")
        rows = self.add_rows(4)
        first = self.take("L")
        self.assert_done(self.put_back(self.members[0]))
        self.assert_done(self.put_back(first, f"STANDBY = {quoted(self.server.db / 'undo')}"))
        self.assertEqual(rows_in(self.copy), rows)
        rows = self.add_rows(4)
        self.assert_done(self.put_back(self.take("L"), "RECOVERY"))
        self.assertEqual(rows_in(self.copy), rows)

    def test_copy_only_leaves_the_chain_alone(self) -> None:
        self.add_rows(5)
        full = self.take("D")
        self.add_rows(5)
        log = self.take("L")
        self.add_rows(5)
        self.take("D", "COPY_ONLY")
        self.add_rows(5)
        self.take("L", "COPY_ONLY")
        rows = self.add_rows(5)
        last, differential = self.take("L"), self.take("I")
        self.put_all_back([full, log, last])
        self.assertEqual(rows_in(self.copy), rows)
        self.put_all_back([full, differential])
        self.assertEqual(rows_in(self.copy), rows)


class Log(ChainTestCase):
    """What is promised of log that has not been backed up yet."""

    def test_a_failed_backup_lets_no_log_go(self) -> None:
        """S1-27: only what is on a committed medium may go."""
        self.add_rows(5)
        full = self.take("D")
        self.add_rows(5)
        folder = self.server.media / "absent"
        self.assert_error(self.server.exec(
            f"BACKUP LOG {NAME} TO {disks(folder / 'x.bak')}"), 3201, terminated="BACKUP LOG")
        # The application clears its WAL as thoroughly as it can.
        with closing(sqlite3.connect(self.path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        rows = self.add_rows(5)
        self.server.terminate()
        self.server.start()
        log = self.take("L")
        self.put_all_back([full, log])
        self.assertEqual(rows_in(self.copy), rows)


class Tail(ChainTestCase):
    """BACKUP LOG WITH NORECOVERY, and the database in its place again."""

    def test_it_loses_nothing(self) -> None:
        """S1-28: after BACKUP LOG WITH NORECOVERY nobody commits; all that was committed is there."""
        self.add_rows(5)
        self.take("D")
        teller = Teller(self.path, busy_timeout_s=2)
        time.sleep(0.3)
        self.take("L")
        time.sleep(0.3)
        self.take("L", "NORECOVERY")
        error = teller.stop()
        committed = max(teller.journal.done, default=0)
        self.assertTrue(error is not None or committed == max(teller.journal.begun),
                        "the teller still commits")
        for member in self.members:
            self.assert_done(self.server.exec(
                f"RESTORE {'LOG' if member.kind == 'L' else 'DATABASE'} {NAME}"
                f" FROM {disks(member.path)} WITH NORECOVERY"
                + (", REPLACE" if member.kind == "D" else "")))
        self.assert_done(self.server.exec(f"RESTORE DATABASE {NAME} WITH RECOVERY"))
        self.assertEqual(rows_in(self.path), committed)


class Long(ChainTestCase):
    """One full, 3 differential and 13 log backups; 10 and 201 in the long form."""

    DIFFERENTIALS, LOGS_EACH = (10, 20) if IS_LONG else (3, 4)
    POINTS = 6 if IS_LONG else 3
    DAMAGES = 5 if IS_LONG else 2

    def test_long_chain(self) -> None:
        print(f"\nCAPSTAN_CHAINS_SEED={SEED}", flush=True)
        self.random = random.Random(SEED)
        with self.teller() as teller:
            self.take("D")
            begin = now_us()
            for _ in range(self.DIFFERENTIALS):
                for _ in range(self.LOGS_EACH):
                    self.take("L")
                self.take("I")
            self.take("L")
            end = self.members[-1].begin
        self.journal = teller.journal
        self.check_latest()
        for _ in range(self.POINTS):
            self.check_point(self.random.randint(begin, end))
        for _ in range(self.DAMAGES):
            self.check_damage(self.random.choice(self.members[1:]))
        self.check_expiry()

    def check_latest(self) -> None:
        """S1-26: the shortest chain: full, newest differential, the log behind it."""
        outcome = self.assert_done(self.restore_to(None, ", RECOVERY, PLANONLY"))
        for member in (self.members[0], self.members[-2], self.members[-1]):
            self.assertIn(member.path.name, outcome.stdout)
        self.assertNotIn(self.members[-3].path.name, outcome.stdout)
        self.assert_done(self.restore_to(None))
        rows = rows_in(self.copy)  # the last log ends somewhere in the course of its backup
        self.assertGreaterEqual(rows, self.journal.at_least(self.members[-1].begin))
        self.assertLessEqual(rows, self.journal.at_most(self.members[-1].end))

    def check_point(self, moment: int) -> None:
        self.assert_done(self.restore_to(moment))
        self.check_rows(self.journal, moment)

    def check_damage(self, member: Member) -> None:
        """One bit of one member: a restore that reads it says which one it is and changes nothing;
        one that stops before it works."""
        whole = member.path.read_bytes()
        damaged = bytearray(whole)
        at = self.random.randrange(len(damaged) // 4, len(damaged))
        damaged[at] ^= 1 << self.random.randrange(8)
        member.path.write_bytes(damaged)
        before = self.copy.read_bytes()
        following = [other for other in self.members if other.begin >= member.end
                     and other.kind == "L"]
        moment = (member.end + following[0].begin) // 2 if following else member.begin
        outcome = self.restore_to(moment)
        if outcome.exit_code != 0:
            self.assertIn(member.path.name, outcome.stderr)
            self.assertEqual(self.copy.read_bytes(), before)
        else:
            self.check_rows(self.journal, moment)
        # A log backup holds all that was committed before it began.
        earlier = [other for other in self.members if other.end < member.begin
                   and other.kind == "L"]
        if earlier:
            self.check_point(earlier[-1].begin)
        member.path.write_bytes(whole)
        self.check_point(moment)

    def check_expiry(self) -> None:
        """S1-45: with a newer full backup, the old chain may go, and goes as a whole."""
        old = list(self.members)
        self.take("D")
        rows = self.add_rows(3)
        self.take("L")
        call = f"EXEC sp_expire_backups @keep_full = 1, @database = '{NAME}'"
        outcome = self.assert_done(self.server.exec(f"{call}, @dry_run = 1"))
        self.assertIn(old[0].path.name, outcome.stdout)
        self.assertTrue(all(member.path.exists() for member in self.members))
        self.assert_done(self.server.exec(call))
        self.assertEqual([member.path.name for member in self.members if member.path.exists()],
                         [member.path.name for member in self.members[len(old):]])
        self.assertNotEqual(self.restore_to(old[-1].begin).exit_code, 0)
        self.assert_done(self.restore_to(None))
        self.assertEqual(rows_in(self.copy), rows)
        self.assert_done(self.server.exec(call))  # nothing more to do


if __name__ == "__main__":
    main()
