"""Kills capstand, or its agent, at every registered crash point during a backup, a restore and a failing
backup, and checks what must hold after the next start: the medium is the old one or the new one and
whole, the catalog says the same, the database is the old one or the new one, nothing is left behind,
and the next backup works.

SIGKILL is what it can show; the order of writes on a power cut it cannot.
"""

import os
import re
import signal
import sqlite3
import sys
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import harness  # noqa: E402  (its folder is put on the path above)

BACKUP_POINTS = [
    "catalog.before_begin", "catalog.after_begin",
    "engine.after_open",
    "vdi.server.after_end_configuration", "vdi.server.after_send_command:3",
    "vdi.server.before_callback:3",
    "vdi.client.after_create", "vdi.client.after_open_device:2", "vdi.client.after_get_command:3",
    "vdi.client.before_complete:4", "vdi.client.after_complete:2",
    "engine.after_data", "engine.after_trailers",
    "catalog.before_prepare", "catalog.after_prepare",
    "engine.after_prepare", "engine.after_complete",
    "catalog.before_commit", "catalog.after_commit",
]
RESTORE_POINTS = [
    "vdi.client.before_complete:4", "vdi.server.before_callback:3",
    "catalog.before_begin", "catalog.after_begin",
    "engine.restore_begun",
    "sqlite.restore.checked", "sqlite.restore.locked", "sqlite.restore.checkpointed",
    "sqlite.restore.wal_removed", "sqlite.restore.before_directory_sync",
    "sqlite.restore.before_rename", "sqlite.restore.renamed", "sqlite.restore.rename_synced",
    "sqlite.restore.retired",
    "engine.restore_swapped",
    "catalog.before_restore_commit", "catalog.after_restore_commit",
]
# Of a restore that lasts so long: in each the second checkpoint, so that there is one to go on from.
RESTART_POINTS = ["restore.checkpoint.written:2", "restore.checkpoint.saved:2"]
# Of a backup WITH RESTART that goes on with an interrupted one.
RESUMED_BACKUP_POINTS = [
    "engine.after_open", "catalog.before_resume", "catalog.after_resume", "engine.after_take_up",
    "vdi.client.before_complete:2", "vdi.client.after_complete:7", "vdi.server.before_callback:11",
    "engine.after_data", "engine.after_trailers", "engine.after_prepare", "engine.after_complete",
]
COMMITTED = ["engine.after_prepare", "engine.after_complete"]  # what dies there is finished later
# Of RESTORE ... WITH RECOVERY alone.
RECOVERY_POINTS = ["catalog.after_begin", "engine.recovered", "catalog.before_restore_commit",
                   "catalog.after_restore_commit"]
# The catalog's last word on an interrupted job is spoken at the next start, which may die as well.
COMMITTING = ["catalog.before_commit", "catalog.after_commit"]
FORGETTING = ["catalog.before_forget", "catalog.after_forget"]
FAILING_BACKUP_POINTS = FORGETTING
# Passed only when the database to be replaced cannot be read; tests/crash/server/writers goes there.
ELSEWHERE = ["sqlite.restore.set_aside"]
# Passed only when a device refuses to commit: tests/crash/server/catalog/catalog_crash_test.cc.
ELSEWHERE += ["catalog.after_revoke"]
# They need a program that takes snapshots: tests/crash/server/writers/sqlite_mount_crash_test.cc.
ELSEWHERE += ["sqlite.mount.cleared", "sqlite.mount.checked", "sqlite.mount.old_removed",
              "sqlite.mount.placed_removed", "sqlite.mount.returning"]

# Chains of SQLite backups: tests/crash/server/writers/sqlite_log_crash_test.cc.
ELSEWHERE += ["sqlite.log.torn_block", "sqlite.log.copied", "sqlite.log.before_loose",
              "sqlite.log.loose", "sqlite.log.before_trim", "sqlite.log.trimmed",
              "sqlite.log.restoring_renamed", "sqlite.log.restoring_adopted",
              "sqlite.log.restoring_abandoned", "sqlite.log.part_ready", "sqlite.log.part_pending",
              "sqlite.log.part_written", "sqlite.log.part_taken", "sqlite.log.restoring_checked",
              "sqlite.log.restoring_swapped", "sqlite.log.standby_copied",
              "sqlite.log.standby_swapped"]
# Clusters: tests/crash/server/writers/postgres_restore_crash_test.cc.
ELSEWHERE += ["postgres.restore.marked", "postgres.restore.synced", "postgres.restore.written",
              "postgres.log_restore.gathered", "postgres.log_restore.moved",
              "postgres.recovery.begun", "postgres.recovery.ended"]


def registered_points() -> set[str]:
    names: set[str] = set()
    for folder in ("server", "vdi", "agent", "plugins"):
        for source in (ROOT / folder).rglob("*.cc"):
            names.update(re.findall(r'CAPSTAN_CRASH_POINT(?:_OF)?\(\s*"([^"]+)"',
                                    source.read_text()))
    return names


def rows_of(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return connection.execute("SELECT count(*) FROM versions").fetchone()[0]


def add_version(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS versions (x)")
        connection.execute("INSERT INTO versions VALUES (1)")


DEATH_IS_SEEN_S = 5.0


@contextmanager
def dying_at(point: str) -> Iterator[None]:
    """Servers that are started inside of this, and their agents, die at the point."""
    os.environ["CAPSTAN_CRASH_AT"] = point
    try:
        yield
    finally:
        del os.environ["CAPSTAN_CRASH_AT"]


class CrashPoints(unittest.TestCase):
    def dies(self, point: str, action: Callable[[], harness.Outcome]) -> bool:
        """Runs the action with a server that dies at the point, or whose agent does; leaves none
        running. False: both lived on, and the action did what it should."""
        self.server.terminate()
        with dying_at(point):
            self.server.start(wait_for_agent=False)
        mark = len(self.server.console.read_text(errors="replace"))
        outcome = action()
        # Its client may know of a death before its parent does. An action that failed failed because
        # of one, and one that did not may have been over when it came.
        failed = outcome.exit_code != 0
        deadline = time.monotonic() + (harness.PATIENCE_S if failed else DEATH_IS_SEEN_S)
        while not (died := self.somebody_died(mark)) and time.monotonic() < deadline:
            time.sleep(0.02)
        if failed:
            self.assertTrue(died, f"nobody died at {point}, but\n{outcome.describe()}"
                                  f"{self.server.log_tail()}")
        self.server.kill()
        return died

    def somebody_died(self, mark: int) -> bool:
        """Of kill -9: the server, or its agent, as it says in the console behind the mark."""
        assert self.server.process is not None
        said = self.server.console.read_text(errors="replace")[mark:]
        return (self.server.process.poll() == -signal.SIGKILL
                or "agent process ended" in said and "signal 9 (Killed)" in said)

    def start_anew(self) -> None:
        self.server.start()
        harness.wait_for(lambda: not self.server.journal() and not self.server.leftovers(),
                         "the interrupted job to be settled")

    def crash(self, point: str, action: Callable[[], harness.Outcome],
              starts_die_at: list[str] | None = None) -> None:
        """Dies at the point during the action, then starts anew: at first once for each point that
        the starts themselves are to die at."""
        self.assertTrue(self.dies(point, action), f"nobody died at {point}")
        for later in starts_die_at or []:
            with dying_at(later):
                try:
                    self.server.start(wait_for_agent=False)
                except AssertionError:
                    pass  # it was dead before it could say that it is ready
            process = self.server.process
            assert process is not None
            harness.wait_for(lambda: process.poll() is not None, f"a start to die at {later}")
            self.assertEqual(process.returncode, -signal.SIGKILL)
            self.server.kill()
        self.start_anew()

    def setUp(self) -> None:
        self.server = harness.CapstanServer()
        self.addCleanup(lambda: self.server.close(self))
        self.database = self.server.next_database(size=3 << 20)
        self.media = [self.server.media / "a.bak", self.server.media / "b.bak"]
        self.version = 0
        self.next_version()

    def next_version(self) -> None:
        self.version += 1
        add_version(self.database)

    def check(self, outcome: harness.Outcome) -> None:
        self.assertEqual(outcome.exit_code, 0, outcome.describe() + self.server.log_tail())

    def version_on_media(self) -> int:
        """That of the database that the media hold; they must be whole."""
        self.check(self.server.verify(*self.media))
        copy = self.server.db / "probe.db"
        self.check(self.server.restore("probe", *self.media,
                                       options=f"MOVE 'source' TO '{copy}', REPLACE"))
        return rows_of(copy)

    def test_every_point_is_in_a_list(self) -> None:
        listed = {point.split(":")[0] for point in
                  BACKUP_POINTS + RESTORE_POINTS + RESTART_POINTS + RESUMED_BACKUP_POINTS
                  + RECOVERY_POINTS + FAILING_BACKUP_POINTS + ELSEWHERE}
        registered = registered_points()
        self.assertEqual(listed - registered, set())
        # tests/crash/vdi passes all that there are in vdi/; here are those that a job gives sense.
        self.assertEqual({point for point in registered - listed if not point.startswith("vdi.")},
                         set())

    def backup(self) -> harness.Outcome:
        return self.server.backup("source", *self.media, options="INIT")

    def check_backup(self, before: int, sets: int) -> int:
        """After a crash: which version the media hold; the catalog must say the same."""
        now = self.version_on_media()
        self.assertIn(now, (before, self.version))
        shown = len(self.server.backup_sets()) - sets
        self.assertEqual(shown, 1 if now == self.version else 0,
                         "the catalog and the media disagree")
        self.check(self.backup())
        return now

    def test_a_backup_is_whole_or_not_there(self) -> None:
        self.check(self.backup())
        for point in BACKUP_POINTS:
            with self.subTest(point):
                before, sets = self.version_on_media(), len(self.server.backup_sets())
                self.next_version()
                self.crash(point, self.backup)
                self.check_backup(before, sets)

    def test_no_pass_of_an_agent_splits_a_media_set(self) -> None:
        """The agent completes every command once, its commits of the two families last: a death
        between them leaves one family of the old backup and one of the new."""
        self.check(self.backup())
        outcomes = []
        for number in range(1, 100):
            point = f"vdi.client.before_complete:{number}"
            before, sets = self.version_on_media(), len(self.server.backup_sets())
            self.next_version()
            died = self.dies(point, self.backup)
            self.start_anew()
            if not died:
                break
            with self.subTest(point):
                outcomes.append(self.check_backup(before, sets) == self.version)
        self.assertFalse(died, "a backup of so small a database has fewer commands")
        # All that die before the last flush are undone, those after it are finished.
        self.assertEqual(outcomes, sorted(outcomes))
        self.assertEqual(outcomes.count(True), len(self.media),
                         f"deaths during the commit, of those in {outcomes}")

    def test_starting_may_die_as_well(self) -> None:
        self.check(self.backup())
        for point, starts, is_new in (("engine.after_prepare", COMMITTING, True),
                                      ("engine.after_complete", COMMITTING, True),
                                      ("engine.after_trailers", FORGETTING, False)):
            # What follows the catalog's last word is a start with nothing left to do.
            for last in starts:
                with self.subTest(point=point, start=last):
                    before, sets = self.version_on_media(), len(self.server.backup_sets())
                    self.next_version()
                    self.crash(point, self.backup, starts_die_at=[starts[0], last])
                    now = self.check_backup(before, sets)
                    self.assertEqual(now, self.version if is_new else before)

    def test_a_restored_database_is_the_old_one_or_the_new_one(self) -> None:
        target = self.server.db / "target.db"
        options = f"MOVE 'source' TO '{target}', REPLACE"

        def restore() -> harness.Outcome:
            return self.server.restore("target", *self.media, options=options)

        self.check(self.backup())
        self.check(restore())
        dying_starts = {"sqlite.restore.before_rename": FORGETTING,
                        "sqlite.restore.renamed": FORGETTING}
        for point in RESTORE_POINTS:
            with self.subTest(point):
                before = rows_of(target)
                self.next_version()
                self.check(self.backup())
                self.crash(point, restore, dying_starts.get(point))
                self.assertIn(rows_of(target), (before, self.version))
                self.check(restore())
                self.assertEqual(rows_of(target), self.version)

    def test_a_restore_goes_on_from_its_checkpoint(self) -> None:
        """S0-50."""
        self.server.settings.update(checkpoint_s=1, checkpoint_mb=1)
        self.server.terminate()
        self.server.start()
        target = self.server.db / "target.db"
        options = f"MOVE 'source' TO '{target}', MAXTRANSFERSIZE = 65536, REPLACE"
        self.check(self.server.backup("source", *self.media,
                                      options="INIT, MAXTRANSFERSIZE = 65536"))
        self.check(self.server.restore("target", *self.media, options=options))
        for point in RESTART_POINTS:
            with self.subTest(point):
                add_version(target)
                self.assertTrue(self.dies(point, lambda: self.server.restore(
                    "target", *self.media, options=options + ", MAXRATE = 1")))
                self.server.start()
                self.assertEqual(rows_of(target), self.version + 1, "the old one is in use still")
                self.assertEqual(len(self.server.journal()), 1)
                self.assertEqual(len(self.server.leftovers()), 1)
                outcome = self.server.restore("target", *self.media, options=options + ", RESTART")
                self.check(outcome)
                self.assertIn("RESTART goes on with an interrupted restore", outcome.stdout)
                self.assertEqual(rows_of(target), self.version)
                self.server.check_no_leftovers(self)
                self.assertEqual(self.server.journal(), [])

    def test_a_backup_goes_on_wherever_it_died(self) -> None:
        """Twice interrupted: in the middle, then at a point of going on. The old media stay until the
        new ones are whole, and these are as good as if nothing had happened."""
        self.server.settings.update(checkpoint_mb=1)
        self.server.terminate()
        self.server.start()
        options = "INIT, MAXTRANSFERSIZE = 65536"

        def go_on() -> harness.Outcome:
            return self.server.backup("source", *self.media, options=options + ", RESTART")

        self.check(self.server.backup("source", *self.media, options=options))
        for point in RESUMED_BACKUP_POINTS:
            with self.subTest(point):
                before = self.version
                self.assertTrue(self.dies("engine.after_data", lambda: self.server.backup(
                    "source", *self.media, options=options + ", MAXRATE = 1")))
                self.server.start()
                self.assertEqual(len(self.server.journal()), 1)
                self.assertEqual(len(self.server.leftovers()), len(self.media))
                self.assertEqual(self.version_on_media(), before)
                self.next_version()
                self.assertTrue(self.dies(point, go_on))
                self.server.start()
                self.assertIn(self.version_on_media(), (before, self.version))
                outcome = go_on()
                self.check(outcome)
                self.assertIn("begins anew: none was" if point in COMMITTED else "Going on with",
                              outcome.stdout)
                self.assertEqual(self.version_on_media(), self.version)
                self.server.check_no_leftovers(self)
                self.assertEqual(self.server.journal(), [])

    def test_recovery_goes_on_where_it_died(self) -> None:
        target = self.server.db / "target.db"

        def recover() -> harness.Outcome:
            return self.server.exec("RESTORE DATABASE target WITH RECOVERY")

        self.check(self.backup())
        for point in RECOVERY_POINTS:
            with self.subTest(point):
                self.check(self.server.restore(
                    "target", *self.media,
                    options=f"MOVE 'source' TO '{target}', REPLACE, NORECOVERY"))
                self.crash(point, recover)
                again = recover()
                if point == "catalog.after_restore_commit":
                    self.assertIn("3153", again.stderr, "it was recovered, and the catalog knows")
                else:
                    self.check(again)
                self.assertEqual(rows_of(target), self.version)
                self.next_version()
                self.check(self.backup())

    def test_a_failing_backup_is_forgotten(self) -> None:
        self.check(self.backup())
        for point in FAILING_BACKUP_POINTS:
            with self.subTest(point):
                self.crash(point, lambda: self.server.backup(
                    "source", self.server.media / "missing" / "a.bak", options="FORMAT"))
                self.assertEqual(self.version_on_media(), self.version)


if __name__ == "__main__":
    harness.main()
