"""A live PostgreSQL cluster to media and back: what is restored starts under the stock server, and
PostgreSQL's own checkers find nothing.

pgbench's transactions keep four sums equal (of accounts, tellers, branches and history), so that any
state between two of them can be told from one in the middle of one.
"""

from __future__ import annotations

import re
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import postgres
from bank import now_us
from harness import Outcome, ServerTestCase, disks, main, quoted
from postgres import SUPERUSER_DATABASE, Cluster, Workshop
from test_bank import moment_text

NAME = "shop"
SUMS = ("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM"
        " pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches), (SELECT"
        " coalesce(sum(delta), 0) FROM pgbench_history)")
PAGE = 8192


@contextmanager
def transactions(cluster: Cluster) -> Iterator[None]:
    """pgbench's, meanwhile."""
    assert (folder := postgres.binaries())
    process = postgres.spawn([folder / "pgbench", "-n", "-c", 2, "-T", 600, SUPERUSER_DATABASE],
                             cluster.environment())
    try:
        cluster.wait_until("SELECT count(*) > 0 FROM pgbench_history")
        yield
        if process.poll() is not None:
            raise AssertionError(f"pgbench ended: {process.communicate()[0]}")
    finally:
        process.kill()
        process.communicate()


class ClusterTestCase(ServerTestCase):
    """A cluster with a tablespace and pgbench's tables, and a copy that is restored beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.workshop = Workshop()
        self.addCleanup(self.workshop.close)
        self.cluster = self.workshop.cluster(NAME)
        self.cluster.start()
        self.cluster.tablespace("fast")
        self.cluster.tool("pgbench", "-i", "-q", "--index-tablespace=fast", SUPERUSER_DATABASE)
        self.server.attach(NAME, self.cluster.info(), scheme="postgresql")
        self.copy = self.workshop.root / "copy"
        self.copy_fast = self.workshop.root / "copy-fast"
        self.move = (f"MOVE '{NAME}' TO {quoted(self.copy)},"
                     f" MOVE '{NAME}_fast' TO {quoted(self.copy_fast)}, REPLACE")
        self.media: list[Path] = []

    def take(self, what: str = "DATABASE", options: str = "CHECKSUM") -> Path:
        path = self.server.media / f"{len(self.media)}.bak"
        self.assert_done(self.server.exec(
            f"BACKUP {what} {NAME} TO {disks(path)} WITH FORMAT, {options}"))
        self.media.append(path)
        return path

    def put_back(self, what: str, path: Path, options: str) -> None:
        self.assert_done(self.server.exec(f"RESTORE {what} copy FROM {disks(path)} WITH {options}"))

    def start_copy(self) -> Cluster:
        copy = self.workshop.adopt(self.copy)
        copy.start()
        copy.wait_until_primary()
        return copy

    def check_copy(self) -> int:
        """With PostgreSQL's own checkers; returns how many transactions it holds."""
        copy = self.start_copy()
        (sums,) = copy.sql(SUMS)
        self.assertEqual(len(set(sums)), 1, sums)
        history = int(copy.value("SELECT count(*) FROM pgbench_history"))
        copy.amcheck()
        copy.stop()
        copy.checksums()
        return history

    def history(self) -> int:
        return int(self.cluster.value("SELECT count(*) FROM pgbench_history"))


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class Live(ClusterTestCase):
    """Backups while transactions run."""

    def test_each_kind_is_restorable(self) -> None:
        """S1-24, with everything that can happen to files between two backups."""
        with transactions(self.cluster):
            full = self.take()
            after_full = self.history()
            self.cluster.sql("CREATE TABLE born AS SELECT generate_series(1, 5000) AS i")
            self.cluster.sql("CREATE DATABASE extra TEMPLATE template0")
            differential = self.take(options="CHECKSUM, DIFFERENTIAL")
            after_differential = self.history()
            self.cluster.sql("DROP TABLE born")
            self.cluster.sql("CREATE TABLE later AS SELECT generate_series(1, 777) AS i")
            log = self.take("LOG")
        self.put_back("DATABASE", full, f"{self.move}, RECOVERY")
        self.assertLessEqual(self.check_copy(), after_full)
        self.put_back("DATABASE", full, f"{self.move}, NORECOVERY")
        self.put_back("DATABASE", differential, "NORECOVERY")
        self.put_back("LOG", log, "RECOVERY")
        self.assertGreaterEqual(self.check_copy(), after_differential)
        copy = self.start_copy()
        self.assertEqual(copy.value("SELECT count(*) FROM later"), "777")
        self.assertEqual(copy.value("SELECT to_regclass('born') IS NULL"), "t")
        self.assertEqual(copy.value("SELECT count(*) FROM pg_database WHERE datname = 'extra'"), "1")

    def test_stop_at_a_time_and_at_a_mark(self) -> None:
        full = self.take()
        self.cluster.sql("CREATE TABLE step (n int)")
        self.cluster.sql("INSERT INTO step VALUES (1)")
        time.sleep(0.01)
        moment = now_us()
        time.sleep(0.01)
        self.cluster.sql("INSERT INTO step VALUES (2)")
        self.cluster.sql("SELECT pg_create_restore_point('before the sale')")
        self.cluster.sql("INSERT INTO step VALUES (3)")
        log = self.take("LOG")
        for stop, steps in ((f"STOPAT = '{moment_text(moment)}'", "1"),
                            ("STOPATMARK = 'before the sale'", "2"), ("CHECKSUM", "3")):
            with self.subTest(stop=stop):
                self.put_back("DATABASE", full, f"{self.move}, NORECOVERY")
                self.put_back("LOG", log, f"RECOVERY, {stop}")
                copy = self.start_copy()
                self.assertEqual(copy.value("SELECT count(*) FROM step"), steps)
                copy.stop()


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class Faults(ClusterTestCase):
    def test_a_damaged_page_is_named(self) -> None:
        """S0-29."""
        path = self.cluster.data / self.cluster.value(
            "SELECT pg_relation_filepath('pgbench_accounts')")
        self.cluster.stop()
        with open(path, "r+b") as file:
            file.seek(7 * PAGE + 5000)
            byte = file.read(1)
            file.seek(7 * PAGE + 5000)
            file.write(bytes([byte[0] ^ 1]))
        self.cluster.start()
        outcome = self.server.exec(
            f"BACKUP DATABASE {NAME} TO {disks(self.server.media / 'x.bak')} WITH CHECKSUM")
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertTrue(re.search(rf"{path.name}\b.*\b7\b|\b7\b.*{path.name}", outcome.stderr),
                        outcome.describe())

    def test_a_server_that_dies_or_is_absent(self) -> None:
        self.take()
        self.cluster.kill()
        statement = f"BACKUP DATABASE {NAME} TO {disks(self.server.media / 'x.bak')}"
        self.assertEqual(self.server.exec(statement).exit_code, 1)
        self.cluster.start()
        self.take()


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class Replicas(ClusterTestCase):
    def test_where_backups_run(self) -> None:
        """S0-22: what is measured by the primary's pages runs there; a copy may come from a
        standby, and alone does when the primary is gone."""
        standby = self.cluster.standby()
        hosts = f"{self.cluster.sockets},{standby.sockets}"
        self.assert_done(self.server.run("database", "add", "pair", "postgresql:" + (
            f"host={hosts} port={postgres.PORT},{postgres.PORT} user={postgres.SUPERUSER}")))
        self.assert_done(self.server.exec(
            "ALTER DATABASE pair SET BACKUP_PREFERENCE = SECONDARY"))
        self.assert_done(self.backup_pair("FORMAT"))
        self.cluster.stop()
        for options in ("FORMAT", "FORMAT, DIFFERENTIAL"):
            outcome = self.backup_pair(options)
            self.assertEqual(outcome.exit_code, 1, outcome.describe())
            self.assertIn("standby", outcome.stderr)  # is all that there is
        self.assert_done(self.backup_pair("FORMAT, COPY_ONLY, CHECKSUM"))
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE copy FROM {disks(self.server.media / 'pair.bak')} WITH "
            + self.move.replace(f"'{NAME}", "'pair")))
        self.check_copy()

    def backup_pair(self, options: str) -> Outcome:
        return self.server.exec(f"BACKUP DATABASE pair TO {disks(self.server.media / 'pair.bak')}"
                                f" WITH {options}")


if __name__ == "__main__":
    main()
