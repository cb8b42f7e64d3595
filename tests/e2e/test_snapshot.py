"""BACKUP and RESTORE WITH SNAPSHOT against the whole product. The program that takes the snapshot
(tests/e2e/tools/snapshot_client_process.cc) waits at each step, so that a test can look, copy files
and kill whom it likes while a database is frozen."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest
from contextlib import closing
from pathlib import Path

import harness

FREEZE_ENDS_S = 2.0  # after the death of the client, or of the server
ROW = "INSERT INTO item (name) VALUES ('during')"


def can_commit(database: Path) -> bool:
    """Whether a program that does not wait gets the write lock; leaves no trace."""
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
            return True
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            return False


def count_of(database: Path, table: str = "item") -> int:
    with closing(sqlite3.connect(database)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


class SnapshotProgram:
    """One device set and its client; expect() is what it is asked for, answer() what it replies."""

    def __init__(self, server: harness.CapstanServer, name: str, stream: Path) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [harness.Programs.path("snapshot_client_process"), server.data / "vdi.sock", name,
             stream],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=harness.die_with_parent)
        self.expect("Created")

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        if said != line:
            raise AssertionError(f"the client was asked for {said!r} instead of {line!r}")

    def answer(self, code: int = 0) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{code}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(harness.PATIENCE_S)

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class SnapshotTestCase(harness.ServerTestCase):
    journal_modes = ("wal", "delete")

    def program(self, name: str, stream: Path | None = None) -> SnapshotProgram:
        program = SnapshotProgram(self.server, name, stream or self.stream(name))
        self.addCleanup(program.close)
        return program

    def stream(self, name: str) -> Path:
        return self.server.media / f"{name}.metadata"

    def new_database(self, name: str, journal_mode: str) -> Path:
        path = self.server.db / f"{name}.db"
        harness.make_database(path, 1 << 20, journal_mode=journal_mode)
        self.server.attach(name, path)
        return path

    def backup_statement(self, database: str, options: str = "") -> str:
        return (f"BACKUP DATABASE {database} TO VIRTUAL_DEVICE = '{database}'"
                f" WITH SNAPSHOT{options}")

    def begin_backup(self, database: str, options: str = "") -> tuple[SnapshotProgram,
                                                                       "subprocess.Popen[str]"]:
        """Up to the freeze."""
        program = self.program(database)
        statement = self.server.popen("exec", self.backup_statement(database, options))
        program.expect("PrepareToFreeze")
        program.answer()
        program.expect("Snapshot")
        return program, statement

    def finish(self, statement: "subprocess.Popen[str]") -> harness.Outcome:
        return harness.finish(statement, time.monotonic())

    def copy_files(self, database: Path) -> Path:
        """What a program does that has no snapshots of volumes; `database` is frozen."""
        copy = self.server.media / database.name
        for suffix in ("", "-wal"):
            source = Path(f"{database}{suffix}")
            if source.exists():
                shutil.copyfile(source, f"{copy}{suffix}")
        return copy

    def place_files(self, copy: Path, target: Path) -> None:
        for suffix in ("", "-wal"):
            if Path(f"{copy}{suffix}").exists():
                shutil.copyfile(f"{copy}{suffix}", f"{target}{suffix}")

    def take_snapshot(self, name: str, path: Path) -> Path:
        program, statement = self.begin_backup(name)
        copy = self.copy_files(path)
        program.answer()
        program.expect("Closed")
        self.assert_done(self.finish(statement))
        return copy

    def begin_restore(self, database: str, source: str, options: str = "") -> tuple[
            SnapshotProgram, "subprocess.Popen[str]"]:
        """Up to the mount."""
        program = self.program(f"restore-{database}", self.stream(source))
        statement = self.server.popen(
            "exec", f"RESTORE DATABASE {database} FROM VIRTUAL_DEVICE = '{program.name}'"
                    f" WITH SNAPSHOT{options}")
        program.expect("MountSnapshot")
        return program, statement

    def assert_not_held(self, database: Path) -> None:
        self.assertTrue(can_commit(database), "the database is still frozen")
        self.assertEqual(self.server.backup_sets(), [])


class Snapshots(SnapshotTestCase):
    def test_round_trip_of_a_live_database(self) -> None:
        """S4-02, S4-44, S4-51, S4-53."""
        for mode in self.journal_modes:
            with self.subTest(mode):
                name = f"live_{mode}"
                path = self.server.db / f"{name}.db"
                with harness.committing(path, mode) as writer:
                    self.server.attach(name, path)
                    program, statement = self.begin_backup(name, ", COPY_ONLY, NAME = 'nightly'")
                    frozen = writer.committed()
                    self.assertFalse(can_commit(path))
                    copy = self.copy_files(path)
                    self.assertEqual(writer.committed(), frozen, "a commit while frozen")
                    program.answer()
                    program.expect("Closed")
                    outcome = self.assert_done(self.finish(statement))
                    self.assertIn("BACKUP DATABASE successfully processed", outcome.stdout)
                    harness.wait_for(lambda: writer.committed() > frozen, "commits after the thaw")
                self.assertLess(self.stream(name).stat().st_size, 64 << 10)

                target = self.server.db / f"{name}-restored.db"
                program, statement = self.begin_restore("copy", name,
                                                        f", REPLACE, MOVE '{name}' TO '{target}'")
                self.place_files(copy, target)
                program.answer()
                program.expect("Closed")
                outcome = self.assert_done(self.finish(statement))
                self.assertIn("RESTORE DATABASE successfully processed", outcome.stdout)
                self.assertEqual(harness.check_prefix(target), frozen)
        rows = self.server.query("SELECT name, is_snapshot, is_copy_only FROM msdb.dbo.backupset"
                                 " WHERE is_snapshot = 1")
        self.assertEqual(len(rows), 2)
        self.assertEqual(rows[0]["name"], "nightly")
        log = self.server.errorlog.read_text()
        self.assertIn("I/O is frozen on database live_wal. No user action is required.", log)
        self.assertIn("I/O was resumed on database live_wal. No user action is required.", log)

    def test_listings(self) -> None:
        path = self.new_database("source", "wal")
        self.take_snapshot("source", path)
        answers = {}
        for query in ("LABELONLY", "HEADERONLY", "FILELISTONLY"):
            program = self.program(query)
            shutil.copyfile(self.stream("source"), self.stream(query))
            answers[query] = self.server.query(f"RESTORE {query} FROM VIRTUAL_DEVICE = '{query}'")
            program.expect("Closed")
        self.assertEqual(answers["LABELONLY"][0]["FamilyCount"], 1)
        self.assertTrue(answers["HEADERONLY"][0]["IsSnapshot"])
        self.assertEqual([(row["LogicalName"], row["Type"]) for row in answers["FILELISTONLY"]],
                         [("source", "D"), ("source_log", "L")])
        program = self.program("verify", self.stream("source"))
        outcome = self.assert_done(
            self.server.exec("RESTORE VERIFYONLY FROM VIRTUAL_DEVICE = 'verify'"))
        self.assertIn("its files are not on the device", outcome.stdout)

    def test_refusals(self) -> None:
        self.new_database("source", "wal")
        path = self.server.media / "a.bak"
        self.assert_error(self.server.backup("source", path, options="SNAPSHOT"), 3277,
                          "only one virtual device")
        self.assertFalse(path.exists())
        self.assert_done(self.server.backup("source", path))
        program = self.program("plain", path)
        self.assert_error(
            self.server.exec("RESTORE DATABASE x FROM VIRTUAL_DEVICE = 'plain' WITH SNAPSHOT"),
            3276, terminated="RESTORE DATABASE")
        program.expect("Closed")

    def test_writer_states(self) -> None:
        self.new_database("source", "wal")
        program, statement = self.begin_backup("source")
        self.assertIn("Waiting for thaw", self.server.run("list", "writers").stdout)
        program.answer()
        self.assert_done(self.finish(statement))
        self.assertIn("Stable", self.server.run("list", "writers").stdout)

    def test_two_databases_are_frozen_at_once(self) -> None:
        """S4-50."""
        paths = [self.new_database("one", "wal"), self.new_database("two", "delete")]
        programs = [self.program("one"), self.program("two")]
        statements = [self.server.popen("exec", self.backup_statement(p.name)) for p in programs]
        for step in ("PrepareToFreeze", "Snapshot"):
            for program in programs:
                program.expect(step)
            self.assertEqual([can_commit(path) for path in paths], [step != "Snapshot"] * 2)
            for program in programs:
                program.answer()
        for statement in statements:
            self.assert_done(self.finish(statement))


class Freezes(SnapshotTestCase):
    """Whatever happens while a database is frozen, the freeze ends."""

    settings = {"start_agents": False}

    def test_the_death_of_the_client(self) -> None:
        for mode in self.journal_modes:
            with self.subTest(mode):
                path = self.new_database(f"source_{mode}", mode)
                program, statement = self.begin_backup(f"source_{mode}")
                self.assertFalse(can_commit(path))
                program.kill()
                harness.wait_for(lambda: can_commit(path), "the thaw", FREEZE_ENDS_S)
                self.assert_error(self.finish(statement), 3271, "995(")
                self.assert_not_held(path)

    def test_the_death_of_the_server(self) -> None:
        for mode in self.journal_modes:
            with self.subTest(mode):
                path = self.new_database(f"source_{mode}", mode)
                program, statement = self.begin_backup(f"source_{mode}")
                self.assertFalse(can_commit(path))
                assert self.server.process is not None
                os.kill(self.server.pid, signal.SIGKILL)
                self.server.process.wait(harness.PATIENCE_S)
                self.assertTrue(can_commit(path), "the freeze has outlived the server")
                program.answer()
                program.expect("Aborted")
                self.finish(statement)
                self.server.kill()
                self.server.start()
                self.assert_not_held(path)
                self.assertEqual(self.server.journal(), [])

    def test_a_kill_of_the_statement(self) -> None:
        path = self.new_database("source", "wal")
        program, statement = self.begin_backup("source")
        session = self.server.running_jobs()[0]["session_id"]
        self.assertEqual(self.server.exec(f"KILL {session}").exit_code, 0)
        harness.wait_for(lambda: can_commit(path), "the thaw", FREEZE_ENDS_S)
        self.assert_error(self.finish(statement), 3204)
        program.answer()
        program.expect("Aborted")
        self.assert_not_held(path)

    def test_the_death_of_the_requester(self) -> None:
        path = self.new_database("source", "wal")
        _, statement = self.begin_backup("source")
        statement.kill()
        self.finish(statement)
        harness.wait_for(lambda: can_commit(path), "the thaw", FREEZE_ENDS_S)
        harness.wait_for(lambda: not self.server.running_jobs(), "the end of the job")
        self.assert_not_held(path)


class Mounts(SnapshotTestCase):
    """A restore that does not get to its end leaves the old database as it was."""

    settings = {"start_agents": False}

    def setUp(self) -> None:
        super().setUp()
        self.path = self.new_database("source", "wal")
        self.copy = self.take_snapshot("source", self.path)
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(ROW)
        self.content = harness.content_of(self.path)

    def begin(self) -> tuple[SnapshotProgram, "subprocess.Popen[str]"]:
        program, statement = self.begin_restore("source", "source", ", REPLACE")
        self.assertFalse(self.path.exists(), "the place is free")
        self.place_files(self.copy, self.path)
        return program, statement

    def assert_old(self) -> None:
        self.assertEqual(harness.content_of(self.path), self.content)
        self.server.check_no_leftovers(self)

    def test_a_client_that_gives_up(self) -> None:
        program, statement = self.begin()
        program.answer(995)
        program.expect("Closed")
        self.assert_error(self.finish(statement), 3271, "is there again, as it was",
                          terminated="RESTORE DATABASE")
        self.assert_old()

    def test_a_client_that_dies(self) -> None:
        program, statement = self.begin()
        program.kill()
        self.assert_error(self.finish(statement), 3271, "is there again, as it was",
                          terminated="RESTORE DATABASE")
        self.assert_old()

    def test_files_of_another_time(self) -> None:
        program, statement = self.begin_restore("source", "source", ", REPLACE")
        harness.make_database(self.path, 1 << 20)
        program.answer()
        self.assert_error(self.finish(statement), 65006, "not as the snapshot has it",
                          terminated="RESTORE DATABASE")
        self.assert_old()

    def test_a_server_that_dies(self) -> None:
        _, statement = self.begin()
        self.server.kill()
        self.finish(statement)
        self.server.start()
        harness.wait_for(lambda: not self.server.journal(), "the interrupted job to be settled")
        self.assert_old()

    def test_a_database_in_use(self) -> None:
        with closing(sqlite3.connect(self.path)) as db:
            db.execute("SELECT count(*) FROM item").fetchone()
            program = self.program("again", self.stream("source"))
            outcome = self.server.exec("RESTORE DATABASE source FROM VIRTUAL_DEVICE = 'again'"
                                       " WITH SNAPSHOT, REPLACE")
            self.assert_error(outcome, 3101, terminated="RESTORE DATABASE")
            program.expect("Closed")
        self.assert_old()


if __name__ == "__main__":
    harness.main()
