"""Chains of backups of a bank that never rests, under kill -9 of everybody, restored to random
moments: no transaction is lost, none is there too early, no money is made.

  CAPSTAN_BANK_ROUNDS=200 python3 tests/e2e/test_bank.py --bin build/release/bin    the long form
  CAPSTAN_BANK_SEED=n                                                               the same again

A round is a backup, in the middle of which the server, its agent, the database or one of its
clients may be killed. Half as many moments are restored, every second one by statements of its own
instead of FROM CATALOG. A moment may be refused if the server itself had declared that log was
lost there; those are counted.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
import unittest
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import postgres
from bank import BankDatabase, Journal, PostgresBank, SqliteBank, now_us
from harness import (CapstanServer, Outcome, ServerTestCase, disks, finish, main, quoted)

ROUNDS = int(os.environ.get("CAPSTAN_BANK_ROUNDS", "10"))
SEED = int(os.environ.get("CAPSTAN_BANK_SEED", str(time.time_ns() % 1_000_000)))
POINTS = max(6, ROUNDS // 2)
THOROUGH_POINTS = 3  # of which the structure is checked as well
CLIENTS = 4
PAUSE_MS = 4.0  # a client's, between two transactions, at most
REST_S = 0.3  # between two rounds, at most
FULL, DIFFERENTIAL, LOG = "D", "I", "L"  # as in backupset
KINDS, KIND_WEIGHTS = (FULL, DIFFERENTIAL, LOG), (10, 20, 70)
SERVER, AGENT, DATABASE, NOBODY = "server", "agent", "database", "nobody"
VICTIMS, VICTIM_WEIGHTS = (SERVER, AGENT, DATABASE, NOBODY), (15, 15, 15, 55)


def moment_text(moment_us: int) -> str:
    """For STOPAT."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=moment_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Backup:
    """One that was tried; what it holds begins before `begin` and ends before `end`."""

    kind: str
    path: Path
    begin: int
    end: int = 0
    done: bool = False


@dataclass
class Figures:
    kills: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    gaps: int = 0
    refused: int = 0
    restore_s: list[float] = field(default_factory=list)


class Chain:
    """The backups of one bank, and where the server has said that log is missing."""

    def __init__(self, server: CapstanServer, bank: BankDatabase, source: random.Random) -> None:
        self._server = server
        self._bank = bank
        self._random = source
        self._backups: list[Backup] = []
        self._lost_since: int | None = None
        self._first_of_log: Backup | None = None  # what the newest log backups go on from
        self._usual_s = {FULL: 0.2, DIFFERENTIAL: 0.2, LOG: 0.2}
        self.gaps: list[tuple[int, int]] = []
        self.figures = Figures()

    def take(self, kind: str, victim: str = NOBODY) -> Outcome:
        path = self._server.media / f"{len(self._backups):04}.bak"
        verb = "LOG" if kind == LOG else "DATABASE"
        options = "FORMAT, CHECKSUM" + (", DIFFERENTIAL" if kind == DIFFERENTIAL else "")
        backup = Backup(kind, path, now_us())
        self._backups.append(backup)
        begin = time.monotonic()
        cli = self._server.popen(
            "exec", f"BACKUP {verb} {self._bank.name} TO {disks(path)} WITH {options}")
        if victim != NOBODY:
            time.sleep(self._random.random() * self._usual_s[kind])
            self._kill(victim)
        outcome = finish(cli, begin)
        backup.end = now_us()
        backup.done = outcome.exit_code == 0
        if backup.done:
            self._usual_s[kind] = (self._usual_s[kind] + outcome.seconds) / 2
            if kind != LOG and self._lost_since is not None:
                self.gaps.append((self._lost_since, backup.end))
                self._lost_since = None
                self._first_of_log = backup
        else:
            self.figures.failed += 1
        return outcome

    def _kill(self, victim: str) -> None:
        self.figures.kills[victim] = self.figures.kills.get(victim, 0) + 1
        if victim == SERVER:
            self._server.kill()
            time.sleep(self._random.random() * REST_S)
            self._server.start()
        elif victim == AGENT:
            os.kill(self._server.agent_pid(), signal.SIGKILL)
        else:
            self._bank.kill(self._random.randrange(CLIENTS))

    def declare_lost(self) -> None:
        """The server says that log which no backup holds is gone."""
        self.figures.gaps += 1
        if self._lost_since is None:
            members = self.members()
            begin = (self._first_of_log or members[0]).begin
            self._lost_since = max([begin, *(backup.begin for backup in members
                                             if backup.kind == LOG)])

    def members(self) -> list[Backup]:
        """In the order in which they were committed. One whose server was killed may be among
        them, though nobody was told."""
        return [backup for backup, _, _ in self._history()]

    def _history(self) -> list[tuple[Backup, int, int]]:
        """The members, each with the first and the last LSN of its set."""
        rows = self._server.query(
            "SELECT f.physical_device_name AS path, s.first_lsn AS first_lsn,"
            " s.last_lsn AS last_lsn FROM msdb.dbo.backupset s"
            " JOIN msdb.dbo.backupmediafamily f ON s.media_set_id = f.media_set_id"
            f" WHERE s.database_name = '{self._bank.name}' ORDER BY s.backup_set_id")
        by_path = {str(backup.path): backup for backup in self._backups}
        return [(by_path[str(row["path"])], int(str(row["first_lsn"])), int(str(row["last_lsn"])))
                for row in rows]

    def in_a_gap(self, moment: int) -> bool:
        return any(begin <= moment <= end for begin, end in self.gaps + self._bridged_gaps())

    def _bridged_gaps(self) -> list[tuple[int, int]]:
        """Log that was lost and never asked for: a full or differential backup came first. The
        server must have said it in its log."""
        gaps = []
        (since, _, held), *following = self._history()
        bridge = since
        for backup, first_lsn, last_lsn in following:
            if backup.kind != LOG:
                bridge = backup
                continue
            if first_lsn > held:
                assert "log broken" in self._server.console.read_text(errors="replace")
                gaps.append((since.begin, bridge.end))
            since, held = backup, last_lsn
        return gaps


class BankTestCase(ServerTestCase):
    bank: BankDatabase
    bank_kind: type[BankDatabase]

    def setUp(self) -> None:
        super().setUp()
        print(f"\nCAPSTAN_BANK_ROUNDS={ROUNDS} CAPSTAN_BANK_SEED={SEED}", flush=True)
        self.random = random.Random(SEED)
        self.bank = self.bank_kind(self.server, CLIENTS, SEED, PAUSE_MS)
        self.addCleanup(self.bank.close)
        self.chain = Chain(self.server, self.bank, self.random)

    def play(self) -> None:
        self.assert_done(self.chain.take(FULL))
        first = now_us()
        for _ in range(ROUNDS):
            time.sleep(self.random.random() * REST_S)
            (kind,) = self.random.choices(KINDS, KIND_WEIGHTS)
            (victim,) = self.random.choices(VICTIMS, VICTIM_WEIGHTS)
            outcome = self.chain.take(kind, victim)
            if outcome.exit_code != 0:
                self.go_on_after(kind, victim, outcome)
        last = now_us()
        self.backup_log()  # holds all of it
        self.bank.clients.stop()
        self.check_moments(first, last)

    def go_on_after(self, kind: str, victim: str, outcome: Outcome) -> None:
        """Who was killed may cost a backup; lost log must be declared. Nothing else may fail."""
        if kind == LOG and self.says_lost(outcome):
            self.chain.declare_lost()
            self.assert_done(self.chain.take(DIFFERENTIAL))
        elif victim == NOBODY:
            self.fail(outcome.describe() + self.server.log_tail())

    @staticmethod
    def says_lost(outcome: Outcome) -> bool:
        return any("differential" in message.hint for message in outcome.messages)

    def backup_log(self) -> None:
        outcome = self.chain.take(LOG)
        if outcome.exit_code != 0:
            self.go_on_after(LOG, NOBODY, outcome)
            self.assert_done(self.chain.take(LOG))

    # --- restores -------------------------------------------------------------------------------

    def check_moments(self, first: int, last: int) -> None:
        journals = self.bank.clients.read()
        moments = [self.random.randint(first, last) for _ in range(POINTS)]
        for number, moment in enumerate(moments):
            with self.subTest(moment=moment_text(moment), number=number):
                self.check_moment(number, moment, journals)
        self.report(journals)

    def check_moment(self, number: int, moment: int, journals: list[Journal]) -> None:
        self.bank.discard_copy()
        begin = time.monotonic()
        outcome = (self.restore_from_catalog(moment) if number % 2 == 0
                   else self.restore_by_statements(moment))
        if outcome.exit_code != 0 and self.chain.in_a_gap(moment):
            self.chain.figures.refused += 1
            return
        self.assert_done(outcome)
        self.chain.figures.restore_s.append(time.monotonic() - begin)
        self.bank.check(journals, moment, thorough=number < THOROUGH_POINTS)

    def restore_from_catalog(self, moment: int) -> Outcome:
        return self.server.exec(
            f"RESTORE DATABASE copy FROM CATALOG SOURCE = {quoted(self.bank.name)}"
            f" WITH {self.bank.move()}, STOPAT = '{moment_text(moment)}', RECOVERY")

    def restore_by_statements(self, moment: int) -> Outcome:
        """The newest full and differential backup that were over by then, and log until then."""
        members = self.chain.members()
        over = [index for index, backup in enumerate(members) if backup.end <= moment]
        base = max(index for index in over if members[index].kind == FULL)
        start = max((index for index in over
                     if members[index].kind == DIFFERENTIAL and index > base), default=base)
        chosen = [members[base]] if start == base else [members[base], members[start]]
        for backup in members[start + 1:]:
            if backup.kind == LOG:
                chosen.append(backup)
                if backup.begin >= moment:
                    break
        return self.restore_each(chosen, moment)

    def restore_each(self, chosen: list[Backup], moment: int) -> Outcome:
        move = f"{self.bank.move()}, "
        for backup in chosen:
            verb = "LOG" if backup.kind == LOG else "DATABASE"
            stop = f"STOPAT = '{moment_text(moment)}', " if backup.kind == LOG else ""
            end = "RECOVERY" if backup is chosen[-1] else "NORECOVERY"
            outcome = self.server.exec(f"RESTORE {verb} copy FROM {disks(backup.path)}"
                                       f" WITH {move if backup is chosen[0] else ''}{stop}{end}")
            if outcome.exit_code != 0:
                return outcome
        return outcome

    def report(self, journals: list[Journal]) -> None:
        figures, members = self.chain.figures, self.chain.members()
        counts = {kind: sum(backup.kind == kind for backup in members) for kind in KINDS}
        print(f"{sum(len(journal.done) for journal in journals)} transactions; "
              f"{counts[FULL]} full, {counts[DIFFERENTIAL]} differential, {counts[LOG]} log backups, "
              f"{figures.failed} failed; killed: {figures.kills}; log declared lost "
              f"{figures.gaps} times; {len(figures.restore_s)} moments right, {figures.refused} "
              f"refused where log was lost; a restore takes "
              f"{statistics.median(figures.restore_s or [0]):.2f} s", flush=True)


class Sqlite(BankTestCase):
    bank_kind = SqliteBank

    def test_every_moment(self) -> None:
        self.play()


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class Postgres(BankTestCase):
    bank_kind = PostgresBank

    def test_every_moment(self) -> None:
        self.play()


if __name__ == "__main__":
    main()
