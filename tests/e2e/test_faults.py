"""Processes that die or stop, and resources that run out, in the middle of a job: each ends in a
clear error within its deadline, loses nothing and leaves nothing.

The middle is certain, not likely: transfers are small, the test waits until a part of the data has
arrived at its target, then stops the agent with SIGSTOP. From there nothing moves until the test
says so.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
import unittest
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness import (CapstanServer, Outcome, Programs, ServerTestCase, disks, finish, main, quoted,
                     wait_for)

SLOWLY = "BUFFERCOUNT = 2, MAXTRANSFERSIZE = 65536"
BIG = 48 << 20


class Middle:
    """A statement whose job stands still in its middle, with the agent stopped."""

    def __init__(self, server: CapstanServer, statement: str, folder: Path, suffix: str) -> None:
        self.server = server
        self.begin = time.monotonic()
        self.cli = server.popen("exec", statement)
        self.agent = server.agent_pid()
        try:
            while not any(self.has_data(path) for path in folder.iterdir()
                          if path.name.endswith(suffix)):
                if self.cli.poll() is not None:
                    raise AssertionError(f"too fast, or failed:\n{self.outcome().describe()}")
                time.sleep(0.0005)
        finally:
            os.kill(self.agent, signal.SIGSTOP)
        if self.cli.poll() is not None:
            os.kill(self.agent, signal.SIGCONT)
            raise AssertionError(f"too fast:\n{self.outcome().describe()}")

    @staticmethod
    def has_data(path: Path) -> bool:
        with suppress(FileNotFoundError):
            return path.stat().st_size > 0
        return False

    def resume(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.agent, signal.SIGCONT)

    def kill_agent(self) -> None:
        os.kill(self.agent, signal.SIGKILL)

    def outcome(self) -> Outcome:
        return finish(self.cli, self.begin)


class FaultTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=BIG)
        self.medium = self.server.media / "a.bak"
        self.old_medium: bytes | None = None
        self.target = self.server.db / "target.db"

    def backup_statement(self) -> str:
        return f"BACKUP DATABASE source TO {disks(self.medium)} WITH FORMAT, {SLOWLY}"

    def backup_in_the_middle(self, over_old_medium: bool = False) -> Middle:
        if over_old_medium:
            self.server.next_database(name="small")
            self.assert_done(self.server.backup("small", self.medium))
            self.old_medium = self.medium.read_bytes()
        self.sets = self.server.backup_sets()
        return Middle(self.server, self.backup_statement(), self.server.media, ".capstan-partial")

    def restore_in_the_middle(self) -> Middle:
        """Over a database that exists, whose contents are still wanted."""
        self.assert_done(self.server.backup("source", self.medium))
        self.server.next_database(name="target")
        self.old_target = self.target.read_bytes()
        return Middle(self.server, f"RESTORE DATABASE target FROM {disks(self.medium)}"
                      f" WITH MOVE 'source' TO {quoted(self.target)}, REPLACE, {SLOWLY}",
                      self.server.db, ".capstan-restore")

    def check_backup_undone(self) -> None:
        """Nothing new is listed, nothing old is lost, nothing is left; and the next one works."""
        wait_for(lambda: not self.server.leftovers() and not self.server.journal(),
                 "the settling of the interrupted backup")
        self.assertEqual(self.server.backup_sets(), self.sets)
        if self.old_medium is None:
            self.assertFalse(self.medium.exists())
        else:
            self.assertEqual(self.medium.read_bytes(), self.old_medium)
            self.assert_done(self.server.verify(self.medium))
        self.assert_works()

    def check_restore_undone(self) -> None:
        wait_for(lambda: not self.server.leftovers() and not self.server.journal(),
                 "the settling of the interrupted restore")
        self.assertEqual(self.target.read_bytes(), self.old_target)
        self.assertEqual(self.server.query("SELECT * FROM msdb.dbo.restorehistory"), [])
        self.assert_works("target")
        self.assert_done(self.server.restore(
            "target", self.medium, options=f"MOVE 'source' TO {quoted(self.target)}, REPLACE"))
        self.assertEqual(self.target.read_bytes(), self.source.read_bytes())

    def wait_for_no_jobs(self) -> None:
        wait_for(lambda: not self.server.running_jobs(), "the end of the job", seconds=20)


class DeadAgent(FaultTestCase):
    """kill -9 of capstan-agent. Its supervisor starts another."""

    def test_idle(self) -> None:
        pid = self.server.agent_pid()
        os.kill(pid, signal.SIGKILL)
        self.assert_works()
        self.assertNotEqual(self.server.agent_pid(), pid)

    def test_in_mid_backup(self) -> None:
        middle = self.backup_in_the_middle()
        middle.kill_agent()
        outcome = middle.outcome()
        self.assert_error(outcome, 3202, str(self.medium))
        self.assertLess(outcome.seconds, 20)
        self.check_backup_undone()

    def test_in_mid_backup_over_an_old_medium(self) -> None:
        middle = self.backup_in_the_middle(over_old_medium=True)
        middle.kill_agent()
        self.assert_error(middle.outcome(), 3202, str(self.medium))
        self.check_backup_undone()

    def test_in_mid_restore(self) -> None:
        middle = self.restore_in_the_middle()
        middle.kill_agent()
        self.assert_error(middle.outcome(), 3203, str(self.medium), terminated="RESTORE DATABASE")
        self.check_restore_undone()

    def test_again_and_again(self) -> None:
        """The supervisor goes on, however often."""
        for _ in range(3):
            os.kill(self.server.agent_pid(), signal.SIGKILL)
            self.assert_works()


class DeadServer(FaultTestCase):
    """kill -9 of capstand, and a restart on what it left."""

    def kill_and_restart(self, middle: Middle) -> None:
        self.server.kill()
        outcome = middle.outcome()
        self.assertEqual(outcome.exit_code, 3, outcome.describe())
        self.assertIn("capstand.sock", outcome.stderr)
        self.server.start()

    def test_in_mid_backup(self) -> None:
        self.kill_and_restart(self.backup_in_the_middle())
        self.check_backup_undone()

    def test_in_mid_backup_over_an_old_medium(self) -> None:
        self.kill_and_restart(self.backup_in_the_middle(over_old_medium=True))
        self.check_backup_undone()

    def test_in_mid_restore(self) -> None:
        self.kill_and_restart(self.restore_in_the_middle())
        self.check_restore_undone()

    def test_at_any_time(self) -> None:
        """Whatever is listed after a crash is whole, and what was acknowledged is listed."""
        self.server.next_database(name="small", size=4 << 20)
        acknowledged = 0
        for turn, delay_ms in enumerate((0, 5, 20, 40, 60, 80, 120, 250)):
            path = self.server.media / f"turn-{turn}.bak"
            cli = self.server.popen("exec", f"BACKUP DATABASE small TO {disks(path)}")
            time.sleep(delay_ms / 1000)
            self.server.kill()
            outcome = finish(cli, time.monotonic())
            self.server.start()
            wait_for(lambda: not self.server.leftovers() and not self.server.journal(),
                     "the settling of the interrupted backup")
            listed = [row["physical_device_name"] for row in self.server.query(
                "SELECT physical_device_name FROM msdb.dbo.backupmediafamily")]
            if outcome.exit_code == 0:
                acknowledged += 1
                self.assertIn(str(path), listed)
            self.assertEqual(path.exists(), str(path) in listed)
            if path.exists():
                self.assert_done(self.server.verify(path))
        self.assert_works()


class DeadRequester(FaultTestCase):
    """Closing the connection cancels the statement, as SQL Server does it."""

    def test_killed_in_mid_backup(self) -> None:
        middle = self.backup_in_the_middle(over_old_medium=True)
        middle.cli.kill()
        middle.outcome()
        middle.resume()
        self.wait_for_no_jobs()
        self.check_backup_undone()

    def test_killed_in_mid_restore(self) -> None:
        middle = self.restore_in_the_middle()
        middle.cli.kill()
        middle.outcome()
        middle.resume()
        self.wait_for_no_jobs()
        self.check_restore_undone()

    def test_interrupted_with_ctrl_c(self) -> None:
        middle = self.backup_in_the_middle()
        middle.cli.send_signal(signal.SIGINT)
        outcome = middle.outcome()
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertIn("cancelled", outcome.stderr)
        middle.resume()
        self.wait_for_no_jobs()
        self.check_backup_undone()

    def test_kill_statement(self) -> None:
        """S0-04: the running job is listed while it runs, and KILL ends it with 3204."""
        middle = self.backup_in_the_middle()
        (job,) = self.server.running_jobs()
        self.assertEqual((job["command"], job["database_name"]), ("BACKUP DATABASE", "source"))
        self.assertLess(float(str(job["percent_complete"])), 100)
        self.assert_done(self.server.exec(f"KILL {job['session_id']}"))
        outcome = middle.outcome()
        self.assert_error(outcome, 3204)
        middle.resume()
        self.assertEqual(self.server.running_jobs(), [])
        self.check_backup_undone()


class StoppedServer(FaultTestCase):
    """SIGTERM to capstand while it works."""

    def test_in_mid_backup(self) -> None:
        middle = self.backup_in_the_middle()
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGTERM)
        outcome = middle.outcome()
        self.assertNotEqual(outcome.exit_code, 0)
        self.assertRegex(outcome.stderr, r"Msg 3204|stopping|cancelled")
        middle.resume()
        self.assertEqual(self.server.terminate(), 0)
        self.server.start()
        self.check_backup_undone()

    def test_second_server_on_the_same_directory(self) -> None:
        """A living server is not pushed aside."""
        second = subprocess.run([Programs.path("capstand"), "--data-dir", self.server.data],
                                capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(second.returncode, 1, second.stdout + second.stderr)
        self.assertIn(str(self.server.data), second.stderr)
        self.assert_works()


    def test_server_without_a_data_directory(self) -> None:
        """Neither the command line nor the file names one."""
        lost = subprocess.run([Programs.path("capstand")], capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(lost.returncode, 2, lost.stdout + lost.stderr)
        self.assertIn("no data directory is configured", lost.stderr)
        self.assertIn("--data-dir", lost.stderr)


class StuckAgent(FaultTestCase):
    """S1-56: no wait without a deadline. A stopped agent neither completes nor goes away."""

    # A lease so long that the deadlines of the devices decide.
    settings = {"device_timeout_s": 2, "open_timeout_s": 4, "agent_lease_s": 60}

    def test_device_completes_nothing(self) -> None:
        middle = self.backup_in_the_middle(over_old_medium=True)
        outcome = middle.outcome()
        self.assert_error(outcome, 3271, str(self.medium))
        self.assertLess(outcome.seconds, 15)
        middle.resume()
        self.check_backup_undone()

    def test_device_completes_nothing_in_a_restore(self) -> None:
        middle = self.restore_in_the_middle()
        outcome = middle.outcome()
        self.assert_error(outcome, 3271, str(self.medium), terminated="RESTORE DATABASE")
        self.assertLess(outcome.seconds, 15)
        middle.resume()
        self.check_restore_undone()

    def test_device_does_not_open(self) -> None:
        agent = self.server.agent_pid()
        self.sets = self.server.backup_sets()
        os.kill(agent, signal.SIGSTOP)
        outcome = self.server.backup("source", self.medium)
        os.kill(agent, signal.SIGCONT)
        self.assert_error(outcome, 3201, str(self.medium))
        self.assertLess(outcome.seconds, 15)
        self.check_backup_undone()


class SilentAgent(FaultTestCase):
    """The lease of an agent that says nothing ends, and its jobs with it."""

    settings = {"device_timeout_s": 60, "open_timeout_s": 60, "agent_lease_s": 2}

    def test_lease_ends_in_mid_backup(self) -> None:
        middle = self.backup_in_the_middle()
        outcome = middle.outcome()
        self.assert_error(outcome, 3202, str(self.medium))
        self.assertLess(outcome.seconds, 20)
        middle.resume()
        self.check_backup_undone()


class TwoAtOnce(FaultTestCase):
    def test_two_backups_of_one_database(self) -> None:
        middle = self.backup_in_the_middle()
        other = self.server.media / "b.bak"
        message = self.assert_error(self.server.backup("source", other), 3023)
        self.assertIn("KILL", message.hint)
        self.assertFalse(other.exists())
        middle.resume()
        self.assert_done(middle.outcome())
        self.assert_done(self.server.verify(self.medium))
        self.assert_works()

    def test_two_backups_to_one_file(self) -> None:
        """S0-10: who holds the file is named."""
        self.server.next_database(name="other")
        middle = self.backup_in_the_middle()
        second = self.server.popen("exec", f"BACKUP DATABASE other TO {disks(self.medium)}"
                                   " WITH FORMAT")
        begin = time.monotonic()
        wait_for(lambda: len(self.server.running_jobs()) == 2, "the second job")
        middle.resume()
        first, late = middle.outcome(), finish(second, begin)
        self.assertIn(0, (first.exit_code, late.exit_code), first.describe() + late.describe())
        if late.exit_code != 0:
            self.assert_error(late, 3201, str(self.medium), "capstan-agent")
        self.assert_done(self.server.verify(self.medium))
        self.assert_works()


class FullDisk(ServerTestCase):
    """S0-12: want of room is a device error, never a shorter backup."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=24 << 20)
        self.small = self.server.next_database(name="small")

    def check_old_kept(self, paths: list[Path], act: Callable[[], None]) -> None:
        self.assert_done(self.server.backup("small", *paths))
        before = [path.read_bytes() for path in paths]
        sets = self.server.backup_sets()
        act()
        self.assertEqual([path.read_bytes() for path in paths], before)
        self.assertEqual(self.server.backup_sets(), sets)
        wait_for(lambda: not self.server.leftovers() and not self.server.journal(), "the settling")
        self.assert_done(self.server.verify(*paths))
        self.assert_works()

    def test_one_of_two_stripes(self) -> None:
        with_room = self.server.media / "roomy.bak"
        with small_disk(self, self.server.root / "full", "8m") as folder:
            paths = [with_room, folder / "full.bak"]

            def act() -> None:
                self.assert_error(self.server.backup("source", *paths, options="FORMAT"), 3202,
                                  str(paths[1]), "28(No space left on device)")
            self.check_old_kept(paths, act)

    def test_restore(self) -> None:
        medium = self.server.media / "a.bak"
        self.assert_done(self.server.backup("source", medium))
        with small_disk(self, self.server.root / "full", "8m") as folder:
            old = self.server.next_database(folder, name="old")
            before = old.read_bytes()
            outcome = self.server.restore(
                "old", medium, options=f"MOVE 'source' TO {quoted(old)}, REPLACE")
            self.assertIn(outcome.numbers, ([65006, 3013], [3257, 3013]), outcome.describe())
            self.assertIn(str(folder), outcome.stderr)
            self.assertEqual(old.read_bytes(), before)
            self.server.check_no_leftovers(self)
            self.assert_works("old")
            self.assert_done(self.server.run("database", "remove", "old"))

    def test_limit_of_file_size(self) -> None:
        paths = [self.server.media / "a.bak", self.server.media / "b.bak"]

        def act() -> None:
            agent = self.server.agent_pid()
            old = resource.prlimit(agent, resource.RLIMIT_FSIZE, (4 << 20, resource.RLIM_INFINITY))
            outcome = self.server.backup("source", *paths, options="FORMAT")
            resource.prlimit(agent, resource.RLIMIT_FSIZE, old)
            self.assert_error(outcome, 3202, "27(File too large)")
        self.check_old_kept(paths, act)


class FullCatalog(unittest.TestCase):
    """The disk of the catalog is full: no backup without its row, and all is well afterwards."""

    def test_backup_and_recovery(self) -> None:
        server = CapstanServer(start=False)
        self.addCleanup(shutil.rmtree, server.root, ignore_errors=True)
        with small_disk(self, server.data, "4m"):
            try:
                server.start()
                server.next_database()
                filler = server.data / "filler"
                with open(filler, "wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(b"x" * 4096)
                medium = server.media / "a.bak"
                outcome = server.backup("source", medium)
                self.assertEqual(outcome.exit_code, 1, outcome.describe())
                self.assertRegex(outcome.stderr, "catalog.db|full|No space")
                filler.unlink()
                wait_for(lambda: not server.leftovers(), "the settling of the backup")
                self.assertEqual(server.backup_sets(), [])
                self.assertEqual(server.backup("source", server.media / "b.bak").exit_code, 0)
                self.assertEqual(len(server.backup_sets()), 1)
            finally:
                server.close(self)


class WantOfMemory(ServerTestCase):
    """S1-12: memory is reserved before anything is written; want of it is 701."""

    def setUp(self) -> None:
        super().setUp()
        self.server.next_database()

    def check(self, pid: int, outcome_of: Callable[[], Outcome], room_mib: int = 96) -> Outcome:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        size = next(int(line.split()[1]) for line in status.splitlines()
                    if line.startswith("VmSize:")) * 1024
        sets = self.server.backup_sets()
        old = resource.prlimit(pid, resource.RLIMIT_AS, (size + (room_mib << 20), resource.RLIM_INFINITY))
        outcome = outcome_of()
        with suppress(ProcessLookupError):  # an agent may end for want of memory
            resource.prlimit(pid, resource.RLIMIT_AS, old)
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        # What an agent discards for itself may still be there when the statement has ended.
        wait_for(lambda: not list(self.server.media.iterdir()) and not self.server.journal(),
                 "the settling of the backup")
        self.assertEqual(self.server.backup_sets(), sets)
        return outcome

    def back_up_with_many_buffers(self) -> Outcome:
        return self.server.backup("source", self.server.media / "a.bak",
                                  options="BUFFERCOUNT = 400, MAXTRANSFERSIZE = 1048576")

    def test_of_the_server(self) -> None:
        outcome = self.check(self.server.pid, self.back_up_with_many_buffers)
        message = self.assert_error(outcome, 701)
        self.assertIn("BUFFERCOUNT", message.hint)
        self.assert_works()

    def test_of_the_agent(self) -> None:
        """With room for no thread, for that of the order but not of the medium, for both."""
        for room_mib in (2, 12, 20, 96):
            with self.subTest(room_mib=room_mib):
                outcome = self.check(self.server.agent_pid(), self.back_up_with_many_buffers,
                                     room_mib)
                self.assertIn(3201, outcome.numbers, outcome.describe())
                self.assertEqual(outcome.numbers[-1], 3013, outcome.describe())
                self.assertTrue(any(message.hint for message in outcome.messages),
                                outcome.describe())
                self.assert_works()


class small_disk:
    """A file system of its own at `folder`; the test is skipped where none may be mounted."""

    def __init__(self, test: unittest.TestCase, folder: Path, size: str) -> None:
        self.test, self.folder, self.size = test, folder, size

    def __enter__(self) -> Path:
        self.folder.mkdir(exist_ok=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "none", str(self.folder)],
            capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.test.skipTest(f"cannot mount a small disk: {mounted.stderr.strip()}")
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


if __name__ == "__main__":
    main()
