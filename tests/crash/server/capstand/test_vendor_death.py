"""Kills a vendor's program, or makes it leave otherwise, while capstand runs BACKUP and RESTORE
with its virtual device: at every crash point that a client of vdi/ passes. The statement fails in
SQL Server's words within two seconds, nothing stays in the journal, and the next statements work.
"""

import os
import re
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import harness  # noqa: E402  (its folder is put on the path above)

NOTICE_MAX_S = 2.0
ABORTED = ("995(The I/O operation has been aborted because of either a thread exit or an "
           "application request.)")
# Which commands a backup and a restore send to a client like a pipe that asked for Complete.
BACKUP_KINDS = ["Write", "Flush", "Complete"]
RESTORE_KINDS = ["Read"]
# The client has said that the backup is whole, or is about to be told that it is over.
MAY_END_WELL = re.compile(r"after_complete\.Complete|after_device_closed|_close$")
# Passed by other roles than that of a vendor who does its work: tests/crash/vdi.
ELSEWHERE = re.compile(r"join|area|abort|refusal")


def client_points(kinds: list[str]) -> Iterator[str]:
    for source in sorted((ROOT / "vdi").glob("client*.cc")):
        for of, name in re.findall(r'CAPSTAN_CRASH_POINT(_OF)?\(\s*"([^"]+)"', source.read_text()):
            if not ELSEWHERE.search(name):
                yield from (f"{name}.{kind}" for kind in kinds) if of else [name]


class VendorDeath(harness.ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.database = self.server.next_database(size=1 << 20)
        self.medium = self.server.media / "vendor.dat"

    @contextmanager
    def vendor(self, point: str = "") -> Iterator[subprocess.Popen[str]]:
        """A program that serves the set 'vendor', once its set is created or it has died."""
        process = subprocess.Popen(
            [harness.Programs.path("vdi_victim"), "vendor", self.server.data / "vdi.sock",
             "vendor", self.medium],
            env={**os.environ, "CAPSTAN_CRASH_AT": point}, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, preexec_fn=harness.die_with_parent)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def die_during(self, point: str, statement: str) -> harness.Outcome:
        with self.vendor(point) as process:
            early = process.poll() is not None  # before there was a statement to notice it
            begin = time.monotonic()
            cli = self.server.popen("exec", statement)
            process.wait(harness.PATIENCE_S)
            died = time.monotonic()
            outcome = harness.finish(cli, begin)
            noticed = time.monotonic() - died
        self.assertEqual(process.returncode, -signal.SIGKILL, f"it did not get to {point}")
        if not early:
            self.assertLess(noticed, NOTICE_MAX_S, outcome.describe())
        return outcome

    def check_failed(self, outcome: harness.Outcome, transfer: int) -> None:
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertIn(outcome.numbers, ([transfer, 3013], [18210, 3201, 3013]),
                      outcome.describe())
        error = outcome.messages[-2]
        if error.number == 3201:
            self.assertIn(error.state, (6, 7))
        else:
            self.assertIn(ABORTED, error.text)
            self.assertRegex(error.hint, r"'vendor', served by pid \d+, ended while \w+ing: ")
        log = self.server.errorlog.read_text()
        self.assertRegex(log, r"Error: 18210, Severity: 16, State: 1\.\n.*Backup\w+::")

    def check_next(self) -> None:
        harness.wait_for(lambda: not self.server.journal(), "an empty journal", seconds=5)
        self.assert_works()

    def backup_statement(self) -> str:
        return "BACKUP DATABASE source TO VIRTUAL_DEVICE = 'vendor' WITH FORMAT"

    def serve(self, statement: str) -> None:
        with self.vendor() as process:
            self.assert_done(self.server.exec(statement))
            self.assertEqual(process.wait(harness.PATIENCE_S), 0)

    def test_dead_during_backup(self) -> None:
        for point in client_points(BACKUP_KINDS):
            with self.subTest(point):
                outcome = self.die_during(point, self.backup_statement())
                if outcome.exit_code != 0 or not MAY_END_WELL.search(point):
                    self.check_failed(outcome, 3202)
                    self.check_next()
        self.serve(self.backup_statement())  # the same name, at once

    def test_dead_during_restore(self) -> None:
        self.serve(self.backup_statement())
        target = self.server.db / "target.db"
        statement = ("RESTORE DATABASE target FROM VIRTUAL_DEVICE = 'vendor' WITH REPLACE, "
                     f"MOVE 'source' TO '{target}'")
        for point in client_points(RESTORE_KINDS):
            with self.subTest(point):
                outcome = self.die_during(point, statement)
                if outcome.exit_code != 0 or not MAY_END_WELL.search(point):
                    if "after_complete" not in point or outcome.exit_code != 0:
                        self.check_failed(outcome, 3203)
                        self.server.check_no_leftovers(self)
        self.check_next()
        self.serve(statement)
        self.assertEqual(target.read_bytes(), self.database.read_bytes())


if __name__ == "__main__":
    harness.main()
