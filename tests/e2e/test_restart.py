"""WITH RESTART (S0-50): a restore or a full backup in whose middle the server, the agent or the statement
ends goes on where it was, so it does less than a whole one, and leaves nothing behind.

They are slowed down (MAXRATE), so that their middle is certain; the test waits until the journal
has a checkpoint that far, then strikes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import time
import unittest
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import postgres
from harness import Outcome, ServerTestCase, disks, finish, main, quoted, wait_for
from test_postgres import NAME, ClusterTestCase, transactions

SIZE_MB = 12
RATE_MB = 4
CLUSTER_RATE_MB = 2
CLUSTER_FAR = 0.3
FAR = 0.6
KEPT = 0.2  # of a database that was written to meanwhile


def check_goes_on(test: unittest.TestCase, outcome: Outcome, share: float) -> None:
    """So much was there, and is not read again."""
    said = re.search(r"interrupted restore: (\d+) of (\d+) bytes", outcome.stdout)
    assert said, outcome.describe()
    test.assertGreater(int(said[1]), share * int(said[2]))


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

    def go_on(self, media: list[Path]) -> None:
        outcome = self.assert_done(self.server.exec(self.statement(media, ", RESTART")))
        check_goes_on(self, outcome, FAR)
        self.assertEqual(self.contents(self.copy), self.contents(self.source))
        self.server.check_no_leftovers(self)
        self.assertEqual(self.server.journal(), [])
        self.assert_done(self.server.exec("EXEC sp_detach_db 'copy'"))
        self.copy.unlink()

    @staticmethod
    def contents(path: Path) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(path)) as db:
            result = db.execute("PRAGMA integrity_check").fetchall()
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return result + [row for table in tables for row in db.execute(f"SELECT * FROM [{table}]")]

    def test_goes_on_with_what_is_there(self) -> None:
        cli, begin = self.begin()
        self.server.kill()
        self.assertNotEqual(finish(cli, begin).exit_code, 0)
        self.server.start()
        log = self.server.console.read_text(errors="replace")
        self.assertIn("WITH RESTART goes on from there", log)
        self.go_on(self.media)

        # The agent dies; other copies of the set go on.
        cli, begin = self.begin()
        os.kill(self.server.agent_pid(), signal.SIGKILL)
        failed = finish(cli, begin)
        self.assertNotEqual(failed.exit_code, 0)
        self.assertIn("WITH RESTART goes on from there", failed.stderr)
        wait_for(self.server.agent_attached, "the next agent")
        self.go_on(self.mirrors)

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


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class InterruptedCluster(ClusterTestCase):
    """The same of a cluster with a tablespace, whose restore writes in place."""

    settings = {"checkpoint_s": 1, "checkpoint_mb": 1}

    def setUp(self) -> None:
        super().setUp()
        self.media = [self.server.media / "a.bak", self.server.media / "b.bak"]
        self.mirrors = [self.server.media / "m.bak", self.server.media / "n.bak"]
        self.assert_done(self.server.exec(
            f"BACKUP DATABASE {NAME} TO {disks(*self.media)} MIRROR TO {disks(*self.mirrors)}"
            " WITH FORMAT, CHECKSUM, MAXTRANSFERSIZE = 65536"))
        self.folders = [self.copy, self.copy_fast]

    def statement(self, media: list[Path], options: str = "") -> str:
        return (f"RESTORE DATABASE copy FROM {disks(*media)} WITH MOVE '{NAME}' TO"
                f" {quoted(self.copy)}, MOVE '{NAME}_fast' TO {quoted(self.copy_fast)},"
                f" MAXTRANSFERSIZE = 65536, CHECKSUM{options}")

    def progress(self) -> tuple[int, int]:
        """Of the journal: bytes restored, bytes in all."""
        with closing(sqlite3.connect(self.server.data / "catalog.db")) as catalog:
            rows = catalog.execute("SELECT restored_bytes, total_bytes FROM catalog_job").fetchall()
        return rows[0] if rows else (0, 1)

    def interrupt(self, strike: Callable[[], object], options: str = "") -> Outcome:
        """A restore that is struck when it has come far."""
        begin = time.monotonic()
        cli = self.server.popen("exec", self.statement(
            self.media, f", MAXRATE = {CLUSTER_RATE_MB}{options}"))
        wait_for(lambda: self.progress()[0] > CLUSTER_FAR * self.progress()[1], "a checkpoint that far")
        strike()
        outcome = finish(cli, begin)
        self.assertNotEqual(outcome.exit_code, 0, outcome.describe())
        return outcome

    def interrupt_by_kill(self, options: str = "") -> None:
        outcome = self.interrupt(lambda: self.server.exec(
            f"KILL {self.server.running_jobs()[0]['session_id']}"), options)
        self.assertIn("WITH RESTART goes on from there", outcome.stderr)

    def check_no_cluster(self) -> None:
        """What lies there is found, kept, and of no use to a server."""
        self.assertTrue((self.copy / "capstan.restoring").exists())
        self.assertFalse((self.copy / "global" / "pg_control").exists())
        with self.assertRaises(postgres.PostgresError):
            self.workshop.adopt(self.copy).start()

    def go_on(self, media: list[Path], options: str = "") -> None:
        outcome = self.assert_done(self.server.exec(self.statement(media, ", RESTART" + options)))
        check_goes_on(self, outcome, CLUSTER_FAR)
        self.check_restored()

    def check_restored(self) -> None:
        self.assertEqual(self.server.journal(), [])
        self.assertEqual(self.left("capstan*"), [])
        self.check_copy()

    def left(self, pattern: str = "*") -> list[Path]:
        return [path for folder in self.folders for path in folder.rglob(pattern)]

    def forget(self) -> None:
        self.assert_done(self.server.exec("EXEC sp_detach_db 'copy'"))
        for folder in self.folders:
            shutil.rmtree(folder)

    def test_goes_on_with_what_is_there(self) -> None:
        self.interrupt(self.server.kill)
        self.check_no_cluster()
        self.server.start()
        self.assertIn("WITH RESTART goes on from there",
                      self.server.console.read_text(errors="replace"))
        self.go_on(self.media)
        self.forget()

        # The agent dies; other copies of the set go on.
        agent = self.server.agent_pid()
        outcome = self.interrupt(lambda: os.kill(agent, signal.SIGKILL))
        self.assertIn("WITH RESTART goes on from there", outcome.stderr)
        self.check_no_cluster()
        wait_for(self.server.agent_attached, "the next agent")
        self.go_on(self.mirrors)
        self.forget()

        self.interrupt_by_kill()
        self.check_no_cluster()
        self.assert_error(self.server.exec(
            self.statement(self.media, ", RESTART").replace("copy-fast", "copy-other")), 3019,
            terminated="RESTORE DATABASE")
        self.go_on(self.media)

    def test_goes_on_over_a_cluster_that_is_replaced(self) -> None:
        self.assert_done(self.server.exec(self.statement(self.media)))
        copy = self.start_copy()
        copy.sql("CREATE TABLE gone AS SELECT generate_series(1, 50000) AS i")
        copy.sql("CREATE DATABASE gone")
        copy.sql("DELETE FROM pgbench_accounts WHERE aid % 2 = 0")
        copy.stop()
        self.interrupt(self.server.kill, ", REPLACE")
        self.check_no_cluster()
        self.server.start()
        self.go_on(self.media, ", REPLACE")
        copy = self.start_copy()
        self.assertEqual(copy.value("SELECT to_regclass('gone') IS NULL"), "t")
        self.assertEqual(copy.value("SELECT count(*) FROM pgbench_accounts"), "100000")
        copy.stop()

        # Given up, it goes with what it was to replace, of which it has spoilt the most.
        self.interrupt_by_kill(", REPLACE")
        self.assert_done(self.server.exec("EXEC sp_detach_db 'copy'"))
        self.assertEqual(self.left(), [])
        self.assertEqual(self.server.journal(), [])

    def test_is_given_up(self) -> None:
        self.interrupt_by_kill()
        self.assertNotEqual(self.left(), [])
        self.assert_done(self.server.exec("DROP DATABASE copy"))
        self.assertEqual(self.left(), [])
        self.assertEqual(self.server.journal(), [])

        self.interrupt_by_kill()
        outcome = self.assert_done(self.server.exec(self.statement(self.media)))
        self.assertNotIn("RESTART goes on", outcome.stdout)
        self.check_restored()

    def test_begins_anew_where_nothing_is_left(self) -> None:
        self.interrupt_by_kill()
        for folder in self.folders:
            shutil.rmtree(folder)
        outcome = self.assert_done(self.server.exec(self.statement(self.media, ", RESTART")))
        self.assertIn("will continue from the beginning", outcome.stdout + outcome.stderr)
        self.check_restored()


class BackupSteps(ServerTestCase):
    """Backups WITH RESTART in whose middle something ends."""

    settings = {"checkpoint_mb": 1}
    database = "source"

    def setUp(self) -> None:
        super().setUp()
        self.backup_media = [self.server.media / "a.bak", self.server.media / "b.bak"]

    def change(self) -> None:
        """A little of everything that can happen to a database between two backups."""
        raise NotImplementedError

    def check_backup(self) -> None:
        """Restores it, and compares."""
        raise NotImplementedError

    def statement(self, options: str = "") -> str:
        return (f"BACKUP DATABASE {self.database} TO {disks(*self.backup_media)}"
                f" WITH INIT, CHECKSUM, MAXTRANSFERSIZE = 65536{options}")

    def interrupt(self, strike: Callable[[], object], options: str = "") -> Outcome:
        begin = time.monotonic()
        cli = self.server.popen("exec", self.statement(f", MAXRATE = {RATE_MB}{options}"))
        wait_for(lambda: any(job["percent_complete"] > 100 * FAR for job in self.server.running_jobs()),
                 "a backup that has come far")
        strike()
        outcome = finish(cli, begin)
        self.assertNotEqual(outcome.exit_code, 0, outcome.describe())
        return outcome

    def kill_statement(self) -> None:
        self.assert_done(self.server.exec(f"KILL {self.server.running_jobs()[0]['session_id']}"))

    def go_on(self, options: str = "") -> None:
        outcome = self.assert_done(self.server.exec(self.statement(", RESTART" + options)))
        said = re.search(r"interrupted backup of database .*: (\d+) of (\d+) bytes", outcome.stdout)
        assert said, outcome.describe()
        self.assertGreater(int(said[1]), KEPT * int(said[2]))
        self.server.check_no_leftovers(self)
        self.assertEqual(self.server.journal(), [])
        self.assert_done(self.server.exec(f"RESTORE VERIFYONLY FROM {disks(*self.backup_media)} WITH CHECKSUM"))
        self.check_backup()


class InterruptedBackup(BackupSteps):
    """A full backup in whose middle the server, the agent or the statement ends goes on with what it has
    written, as far as the database still holds it."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=SIZE_MB << 20)
        self.copy = self.server.db / "copy.db"

    def change(self) -> None:
        with closing(sqlite3.connect(self.source)) as db:
            db.execute("CREATE TABLE born AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                       " FROM n LIMIT 5000) SELECT i, 'row ' || i AS t FROM n")
            table = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchone()[0]
            db.execute(f"DELETE FROM [{table}] WHERE rowid % 97 = 0")
            db.commit()

    def check_backup(self) -> None:
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE copy FROM {disks(*self.backup_media)} WITH MOVE 'source' TO '{self.copy}',"
            " REPLACE, CHECKSUM"))
        self.assertEqual(Interrupted.contents(self.copy), Interrupted.contents(self.source))
        self.assert_done(self.server.exec("EXEC sp_detach_db 'copy'"))
        self.copy.unlink()

    def test_goes_on_with_what_is_written(self) -> None:
        self.interrupt(self.server.kill)
        self.assertEqual(len(self.server.leftovers()), len(self.backup_media))
        self.change()
        self.server.start()
        self.assertIn("the same BACKUP WITH RESTART goes on with them",
                      self.server.console.read_text(errors="replace"))
        self.go_on()

        # The agent dies, and in the next one that goes on the server. The old media stay until the end.
        outcome = self.interrupt(lambda: os.kill(self.server.agent_pid(), signal.SIGKILL))
        self.assertIn("BACKUP WITH RESTART goes on", outcome.stderr)
        wait_for(self.server.agent_attached, "the next agent")
        self.assert_done(self.server.verify(*self.backup_media))
        self.interrupt(self.server.kill, ", RESTART")
        self.server.start()
        self.go_on()

    def test_is_given_up(self) -> None:
        outcome = self.interrupt(self.kill_statement)
        self.assertIn("BACKUP WITH RESTART goes on", outcome.stderr)
        self.assertNotEqual(self.server.leftovers(), [])
        outcome = self.assert_done(self.server.exec(self.statement()))
        self.assertNotIn("Going on", outcome.stdout)
        self.server.check_no_leftovers(self)

        self.interrupt(self.kill_statement)
        for path in self.server.leftovers():
            os.unlink(path)
        outcome = self.assert_done(self.server.exec(self.statement(", RESTART")))
        self.assertIn("begins anew: what it wrote is not there any more", outcome.stdout)
        self.server.check_no_leftovers(self)
        self.assertEqual(self.server.journal(), [])
        self.check_backup()


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class InterruptedBackupOfACluster(BackupSteps, ClusterTestCase):
    """The same of a cluster with a tablespace that is written to all the time."""

    database = NAME

    def change(self) -> None:
        self.cluster.sql("CREATE TABLE born AS SELECT generate_series(1, 50000) AS i")
        self.cluster.sql("CREATE DATABASE extra TEMPLATE template0")
        self.cluster.sql("CHECKPOINT")

    def check_backup(self) -> None:
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE copy FROM {disks(*self.backup_media)} WITH {self.move}, CHECKSUM"))
        self.check_copy()

    def test_goes_on_with_what_is_written(self) -> None:
        with transactions(self.cluster):
            self.interrupt(self.server.kill)
            self.assertEqual(len(self.server.leftovers()), len(self.backup_media))
            self.change()
            self.server.start()
            self.go_on()

        # The database dies in the middle.
        outcome = self.interrupt(self.cluster.kill)
        self.assertIn("BACKUP WITH RESTART goes on", outcome.stderr)
        self.cluster.start()
        self.go_on()


if __name__ == "__main__":
    main()
