"""Chains of backups of a bank that never rests, under kill -9 of everybody, restored to random
moments: no transaction is lost, none is there too early, no money is made.

  CAPSTAN_BANK_ROUNDS=200 python3 tests/e2e/test_bank.py --bin build/release/bin    the long form
  CAPSTAN_BANK_SEED=n                                                               the same again

A round is a backup, in the middle of which the server, its agent, the database or one of its
clients may be killed. Half as many moments are restored, every second one by statements of its own
instead of FROM CATALOG. A moment may be refused if the server itself had declared that log was
lost there (bank_chain.py); those are counted, and half of the moments are none of those.
"""

from __future__ import annotations

import os
import random
import statistics
import time
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path

import postgres
from bank import BankDatabase, Journal, PostgresBank, SqliteBank, now_us
from bank_chain import (AGENT, DATABASE, DIFFERENTIAL, FULL, LOG, NOBODY, SERVER, Backup, Chain,
                        Gap, Loss, Member, WrongChain, find_gaps, log_is_lost)
from harness import Outcome, ServerTestCase, disks, main, quoted

ROUNDS = int(os.environ.get("CAPSTAN_BANK_ROUNDS", "10"))
SEED = int(os.environ.get("CAPSTAN_BANK_SEED", str(time.time_ns() % 1_000_000)))
POINTS = max(6, ROUNDS // 2)
THOROUGH_POINTS = 3  # of which the structure is checked as well
DRAWS = 100  # of a moment, until it is outside of all gaps
CLIENTS = 4
PAUSE_MS = 4.0  # a client's, between two transactions, at most
REST_S = 0.3  # between two rounds, at most
KINDS, KIND_WEIGHTS = (FULL, DIFFERENTIAL, LOG), (10, 20, 70)
VICTIMS, VICTIM_WEIGHTS = (SERVER, AGENT, DATABASE, NOBODY), (15, 15, 15, 55)
# How a refusal says that log is missing: FROM CATALOG, and of a log backup.
NO_CHAIN, LOG_TOO_RECENT = 65050, 4305
LEFT_RESTORING = "being left in the Restoring state"  # 4329: the moment lies behind this log


def moment_text(moment_us: int) -> str:
    """For STOPAT."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=moment_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_in(gaps: list[Gap], moment: int) -> bool:
    return any(gap.begin <= moment <= gap.end for gap in gaps)


class Gaps(unittest.TestCase):
    """What the tests below take for a gap, and what they do not forgive."""

    def setUp(self) -> None:
        self.members: list[Member] = []
        self.losses: list[Loss] = []

    def add(self, kind: str, first: int, last: int, done: bool = True) -> None:
        """The n-th lasts from 10 n to 10 n + 5."""
        begin = 10 * len(self.members)
        self.members.append(Member(Backup(kind, Path(), begin, begin + 5, done), "", "", first,
                                   last))

    def lose(self, lsn: int) -> None:
        """Behind it, and after the last backup so far."""
        self.losses.append(Loss(lsn, 10 * len(self.members) - 1))

    def gaps(self) -> list[Gap]:
        return find_gaps(self.members, self.losses)

    def test_there_is_none_in_a_whole_chain(self) -> None:
        self.add(FULL, 100, 100)
        self.add(LOG, 100, 110)
        self.add(DIFFERENTIAL, 120, 120)
        self.add(LOG, 110, 130)
        self.assertEqual(self.gaps(), [])
        self.assertFalse(log_is_lost(self.members, self.losses))

    def test_a_log_backup_that_is_committed_late_is_none(self) -> None:
        self.add(FULL, 100, 100)
        self.add(LOG, 100, 110, done=False)
        self.add(LOG, 100, 120)
        self.add(LOG, 120, 130)
        self.assertEqual(self.gaps(), [])

    def test_one_lasts_from_a_log_backup_to_what_leads_over_it(self) -> None:
        self.add(FULL, 100, 100)
        self.add(LOG, 100, 110)
        self.lose(115)
        self.add(DIFFERENTIAL, 120, 120)
        self.add(FULL, 125, 125)
        self.add(LOG, 120, 130)
        self.assertEqual(self.gaps(), [Gap(10, 25)])

    def test_one_before_all_log_begins_with_the_first_backup(self) -> None:
        self.add(FULL, 100, 100)
        self.lose(100)
        self.add(DIFFERENTIAL, 120, 120)
        self.add(LOG, 120, 130)
        self.assertEqual(self.gaps(), [Gap(0, 15)])

    def test_log_may_be_lost_again_before_it_is_backed_up(self) -> None:
        self.add(FULL, 100, 100)
        self.lose(105)
        self.add(DIFFERENTIAL, 120, 120)
        self.lose(125)
        self.add(DIFFERENTIAL, 140, 140)
        self.add(LOG, 140, 150)
        self.assertEqual(self.gaps(), [Gap(0, 25)])

    def test_what_a_dead_server_began_may_lead_over_it_or_not(self) -> None:
        for first, end in ((120, 15), (140, 25)):
            self.setUp()
            self.add(FULL, 100, 100)
            self.lose(105)
            self.add(DIFFERENTIAL, 120, 120, done=False)
            self.add(DIFFERENTIAL, 140, 140)
            self.add(LOG, first, 150)
            self.assertEqual(self.gaps(), [Gap(0, end)])

    def test_each_must_have_been_declared(self) -> None:
        self.add(FULL, 100, 100)
        self.lose(101)
        self.add(DIFFERENTIAL, 105, 105)
        self.add(LOG, 105, 110)
        self.add(DIFFERENTIAL, 120, 120)
        self.add(LOG, 120, 130)
        with self.assertRaisesRegex(WrongChain, "110 to 120 .* never said so"):
            self.gaps()

    def test_each_must_end_where_it_could(self) -> None:
        self.add(FULL, 100, 100)
        self.lose(105)
        self.add(DIFFERENTIAL, 120, 120)
        self.add(DIFFERENTIAL, 140, 140)
        self.add(LOG, 140, 150)
        with self.assertRaisesRegex(WrongChain, "could have gone on"):
            self.gaps()

    def test_each_must_end_with_a_backup(self) -> None:
        self.add(FULL, 100, 100)
        self.lose(105)
        self.add(LOG, 110, 120)
        with self.assertRaisesRegex(WrongChain, "leads over"):
            self.gaps()

    def test_log_is_refused_only_until_a_backup_leads_over_the_loss(self) -> None:
        self.add(FULL, 100, 100)
        self.add(LOG, 100, 110)
        self.assertFalse(log_is_lost(self.members, self.losses))
        self.lose(115)
        self.assertTrue(log_is_lost(self.members, self.losses))
        self.add(DIFFERENTIAL, 120, 120, done=False)
        self.assertTrue(log_is_lost(self.members, self.losses))
        self.add(DIFFERENTIAL, 130, 130)
        self.assertFalse(log_is_lost(self.members, self.losses))


class BankTestCase(ServerTestCase):
    bank: BankDatabase
    bank_kind: type[BankDatabase]

    def setUp(self) -> None:
        super().setUp()
        print(f"\nCAPSTAN_BANK_ROUNDS={ROUNDS} CAPSTAN_BANK_SEED={SEED}", flush=True)
        self.random = random.Random(SEED)
        self.bank = self.bank_kind(self.server, CLIENTS, SEED, PAUSE_MS)
        self.addCleanup(self.bank.close)
        self.chain = Chain(self.server, self.bank, self.random, CLIENTS)
        self.restore_s: list[float] = []
        self.refused = 0

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
            self.assertTrue(self.chain.log_may_be_refused(), outcome.describe() + self.server.log_tail())
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
        members, gaps = self.chain.members(), self.chain.gaps()
        for number in range(POINTS):
            moment = self.draw(first, last, gaps if number % 4 < 2 else [])
            with self.subTest(moment=moment_text(moment), number=number):
                self.bank.discard_copy()
                begin = time.monotonic()
                outcome = (self.restore_from_catalog(moment) if number % 2 == 0
                           else self.restore_by_statements(members, moment))
                if outcome.exit_code != 0:
                    self.check_refusal(outcome, moment, gaps)
                    continue
                self.restore_s.append(time.monotonic() - begin)
                self.bank.check(journals, moment, thorough=number < THOROUGH_POINTS)
        self.report(journals, members, gaps)

    def draw(self, first: int, last: int, gaps: list[Gap]) -> int:
        """A moment outside of the gaps, if there is one."""
        for _ in range(DRAWS):
            moment = self.random.randint(first, last)
            if not is_in(gaps, moment):
                break
        return moment

    def check_refusal(self, outcome: Outcome, moment: int, gaps: list[Gap]) -> None:
        described = f"{outcome.describe()}\n{gaps}\n{self.server.log_tail()}"
        self.assertTrue(is_in(gaps, moment), described)
        self.assertIn(outcome.numbers[0], (NO_CHAIN, LOG_TOO_RECENT), described)
        self.refused += 1

    def restore_from_catalog(self, moment: int) -> Outcome:
        return self.server.exec(
            f"RESTORE DATABASE copy FROM CATALOG SOURCE = {quoted(self.bank.name)}"
            f" WITH {self.bank.move()}, STOPAT = '{moment_text(moment)}', RECOVERY")

    def restore_by_statements(self, members: list[Member], moment: int) -> Outcome:
        """As an administrator does it who does not know in which log backup the moment is: the
        newest full or differential backup that was over by then, and log WITH RECOVERY until there
        is one that does not leave the database restoring."""
        start = max(index for index, member in enumerate(members)
                    if member.kind != LOG and member.backup.end <= moment)
        begin = [member for member in members if member.guid == members[start].base]
        move = f"{self.bank.move()}, "
        for member in [*begin, members[start]]:
            outcome = self.server.exec(f"RESTORE DATABASE copy FROM {disks(member.backup.path)}"
                                       f" WITH {move}NORECOVERY")
            if outcome.exit_code != 0:
                self.fail(outcome.describe() + self.server.log_tail())
            move = ""
        for member in members[start + 1:]:
            if member.kind == LOG:
                outcome = self.server.exec(
                    f"RESTORE LOG copy FROM {disks(member.backup.path)}"
                    f" WITH STOPAT = '{moment_text(moment)}', RECOVERY")
                if LEFT_RESTORING not in outcome.stdout:
                    return outcome
        self.fail(f"no log backup goes as far as {moment_text(moment)}")

    def report(self, journals: list[Journal], members: list[Member], gaps: list[Gap]) -> None:
        figures = self.chain.figures
        counts = {kind: sum(member.kind == kind for member in members) for kind in KINDS}
        print(f"{sum(len(journal.done) for journal in journals)} transactions; "
              f"{counts[FULL]} full, {counts[DIFFERENTIAL]} differential, {counts[LOG]} log backups, "
              f"{figures.failed} failed; killed: {figures.kills}; log lost "
              f"{len(self.chain.losses)} times, {len(gaps)} gaps; {len(self.restore_s)} moments "
              f"right, {self.refused} refused where log was lost; a restore takes "
              f"{statistics.median(self.restore_s or [0]):.2f} s", flush=True)


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
