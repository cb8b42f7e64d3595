"""RESTORE ... WITH RESTART (S0-50): a restore in whose middle the server, the agent or the statement
ends goes on where it was, is sooner done than a whole one, and leaves nothing behind.

Restores are slowed down (MAXRATE), so that their middle is certain; the test waits until the journal
has a checkpoint that far, then strikes."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
import unittest
from contextlib import closing
from pathlib import Path

from harness import ServerTestCase, disks, finish, main, wait_for

SIZE_MB = 12
RATE_MB = 4
FAR = 0.6


class Interrupted(ServerTestCase):
    settings = {"checkpoint_s": 1, "checkpoint_mb": 1}

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=SIZE_MB << 20)
        self.media = [self.server.media / "a.bak", self.server.media / "b.bak"]
        self.mirrors = [self.server.media / "m.bak", self.server.media / "n.bak"]
        self.assert_done(self.server.exec(
            f"BACKUP DATABASE source TO {disks(*self.media)} MIRROR TO {disks(*self.mirrors)}"
            " WITH FORMAT, CHECKSUM, MAXTRANSFERSIZE = 65536"))
        self.copy = self.server.db / "copy.db"

    def statement(self, media: list[Path], options: str = "") -> str:
        # The rate is that of the devices together.
        return (f"RESTORE DATABASE copy FROM {disks(*media)} WITH MOVE 'source' TO '{self.copy}',"
                f" MAXRATE = {RATE_MB}, MAXTRANSFERSIZE = 65536, CHECKSUM{options}")

    def restored_bytes(self) -> int:
        with closing(sqlite3.connect(self.server.data / "catalog.db")) as catalog:
            rows = catalog.execute("SELECT restored_bytes FROM catalog_job").fetchall()
        return int(rows[0][0]) if rows else 0

    def begin(self, options: str = "") -> tuple[object, float]:
        """A restore that has come far by now."""
        begin = time.monotonic()
        cli = self.server.popen("exec", self.statement(self.media, options))
        wait_for(lambda: self.restored_bytes() > FAR * self.source.stat().st_size,
                 "a checkpoint that far")
        return cli, begin

    def go_on(self, media: list[Path]) -> float:
        outcome = self.assert_done(self.server.exec(self.statement(media, ", RESTART")))
        self.assertIn("RESTART goes on with an interrupted restore", outcome.stdout)
        self.assertEqual(self.contents(self.copy), self.contents(self.source))
        self.server.check_no_leftovers(self)
        self.assertEqual(self.server.journal(), [])
        self.assert_done(self.server.exec("EXEC sp_detach_db 'copy'"))
        self.copy.unlink()
        return outcome.seconds

    @staticmethod
    def contents(path: Path) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(path)) as db:
            result = db.execute("PRAGMA integrity_check").fetchall()
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return result + [row for table in tables for row in db.execute(f"SELECT * FROM [{table}]")]

    def test_restart_takes_less_time(self) -> None:
        whole = self.assert_done(self.server.exec(self.statement(self.media)))
        self.assert_done(self.server.exec("EXEC sp_detach_db 'copy'"))
        self.copy.unlink()

        cli, begin = self.begin()
        self.server.kill()
        self.assertNotEqual(finish(cli, begin).exit_code, 0)
        self.server.start()
        log = self.server.console.read_text(errors="replace")
        self.assertIn("WITH RESTART goes on from there", log)
        self.assertLess(self.go_on(self.media), whole.seconds * 0.8)

        # The agent dies; other copies of the set go on.
        cli, begin = self.begin()
        os.kill(self.server.agent_pid(), signal.SIGKILL)
        failed = finish(cli, begin)
        self.assertNotEqual(failed.exit_code, 0)
        self.assertIn("WITH RESTART goes on from there", failed.stderr)
        wait_for(self.server.agent_attached, "the next agent")
        self.assertLess(self.go_on(self.mirrors), whole.seconds * 0.8)

    def test_it_is_given_up(self) -> None:
        for give_up in ("DROP DATABASE copy", self.statement(self.media)):
            cli, begin = self.begin()
            job = self.server.running_jobs()[0]
            self.assert_done(self.server.exec(f"KILL {job['session_id']}"))
            failed = finish(cli, begin)
            self.assertIn("WITH RESTART goes on from there", failed.stderr)
            self.assertNotEqual(self.server.leftovers(), [])
            other = self.server.media / "other.bak"
            self.assert_done(self.server.backup("source", other, options="INIT, CHECKSUM"))
            self.assert_error(self.server.exec(self.statement([other], ", RESTART")), 3019,
                              terminated="RESTORE DATABASE")
            self.assertNotEqual(self.server.leftovers(), [])

            self.assert_done(self.server.exec(give_up))

            self.server.check_no_leftovers(self)
            self.assertEqual(self.server.journal(), [])
        self.assertEqual(self.contents(self.copy), self.contents(self.source))


if __name__ == "__main__":
    main()
