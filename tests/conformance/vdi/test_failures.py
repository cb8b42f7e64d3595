"""What goes wrong at a vendor's end, at ours, or between: the statement fails, says why, and nobody
waits for ever (VDI specification, "Error Recovery" and "Abnormal Termination")."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from vendor import (ABORTED, PROMPT_S, Client, Ended, Outcome, Strait, VendorTestCase, content_of,
                    finish, main, wait_for)

# What a statement may take to notice that its client is gone: no time to speak of, but on a machine
# at work; far less than the device timeout of 20 s, which is how it would be noticed otherwise.
NOTICE_S = 10.0
MIDDLE = 1 << 20


class Media(VendorTestCase):
    """A client whose file does not do."""

    def test_unwritable_file(self) -> None:
        """The client closes the set with its device open."""
        self.add_proj()
        ended = self.pipe("B", "proj", self.server.media / "missing" / "p").wait()
        self.assertIn("Failed to open: ", ended.text)
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
        self.assertIn("995(", ended.text)
        self.assertLess(ended.seconds, 10)
        self.assert_nothing_new()
        self.assert_works("proj")

    def test_unreadable_file(self) -> None:
        path = self.add_proj()
        before = path.read_bytes()
        ended = self.pipe("R", "proj", self.server.media / "missing").wait()
        self.assertIn("Failed to open: ", ended.text)
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
        self.assertEqual(path.read_bytes(), before)

    def test_full_disk(self) -> None:
        """112 from the client; the device is closed in order, and that is no success."""
        self.add_proj()
        ended = self.run_client("pipe_client", "B", "D", "proj", "sa", "none",
                                self.server.media / "p", file_size_max=MIDDLE)
        self.assertIn("completionCode: 112,", ended.text, ended.describe())
        self.assert_failed(ended, 3202)
        self.assertIn("112(There is not enough space on the disk.)", ended.text)
        self.assertIn("Successfully completed data transfer.\n", ended.text)
        self.assert_nothing_new()
        self.assert_works("proj")

    def test_full_disk_on_one_of_many(self) -> None:
        self.server.next_database(size=16 << 20)
        ended = self.run_client("threads_client", "--backup", "source", "--file",
                                self.server.media / "p", "--devices", 4, file_size_max=MIDDLE)
        self.assert_failed(ended, 3202)
        self.assertIn("112(There is not enough space on the disk.)", ended.text)
        self.assert_nothing_new()

    def test_truncated_file(self) -> None:
        """38 comes too early, at any place."""
        path = self.add_proj()
        whole = self.server.media / "p"
        self.assert_piped(self.pipe("B", "proj", whole).wait(), "BACKUP")
        before = path.read_bytes()
        size = whole.stat().st_size
        for length in (0, 100, 512, size // 2, size - 512):
            with self.subTest(length=length):
                cut = self.server.media / f"cut-{length}"
                cut.write_bytes(whole.read_bytes()[:length])
                ended = self.pipe("R", "proj", cut).wait()
                self.assertIn("completionCode: 38,", ended.text, ended.describe())
                self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
                self.assertGreater(len(ended.numbers), 1, "the cause is named")
                self.assertEqual(path.read_bytes(), before)

    def test_longer_file(self) -> None:
        """The server need not read to the end."""
        path = self.add_proj()
        file = self.server.media / "p"
        self.assert_piped(self.pipe("B", "proj", file).wait(), "BACKUP")
        before = content_of(path)
        with open(file, "ab") as more:
            more.write(bytes(4 << 20))
        self.spoil(path)
        self.assert_piped(self.pipe("R", "proj", file).wait(), "RESTORE")
        self.assertEqual(content_of(path), before)


class MiddleTestCase(VendorTestCase):
    """Transfers that stand still in their middle."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=8 << 20)
        self._straits: list[Strait] = []

    def strait(self, name: str = "strait", feed: bytes | None = None) -> Strait:
        strait = Strait(self.server.root / name, feed)
        self.addCleanup(strait.close)
        return strait

    def stream(self) -> bytes:
        """A sound backup as a pipe-like device gives it."""
        file = self.server.media / "stream"
        self.assert_piped(self.pipe("B", "source", file).wait(), "BACKUP")
        return file.read_bytes()

    def served(self, way: str, strait: Strait) -> Client:
        """A client of one device, named 'middle', whose statement the test sends itself."""
        os.symlink(strait.path, strait.path.with_name(strait.path.name + ".1"))
        client = self.start("threads_client", f"--{way}", "source", "--devices", 1, "--file",
                            strait.path, "--name", "middle", "--send", "no")
        client.wait_for_text("Created\n")
        return client

    def statement(self, way: str) -> str:
        return ("BACKUP DATABASE source TO VIRTUAL_DEVICE = 'middle' WITH FORMAT"
                if way == "backup" else
                "RESTORE DATABASE source FROM VIRTUAL_DEVICE = 'middle' WITH REPLACE")


class DeadClient(MiddleTestCase):
    """kill -9 of the client, with a command in its hands."""

    def kill_in_the_middle(self, way: str, strait: Strait) -> Outcome:
        client = self.served(way, strait)
        begin = time.monotonic()
        statement = self.server.popen("exec", self.statement(way))
        strait.stop_after(MIDDLE)
        killed = client.kill()
        outcome = finish(statement, begin)
        self.assertLess(time.monotonic() - killed, NOTICE_S)
        self.assertEqual(outcome.numbers[-1:], [3013], outcome.describe())
        text = " ".join(f"{message.text} {message.hint}" for message in outcome.messages[:-1])
        self.assertIn(str(client.process.pid), text, "the cause names the process")
        client.wait()
        return outcome

    def test_in_mid_backup(self) -> None:
        self.kill_in_the_middle("backup", self.strait())
        self.assert_nothing_new()
        self.assert_works()

    def test_in_mid_restore(self) -> None:
        stream = self.stream()
        before = self.source.read_bytes()
        self.kill_in_the_middle("restore", self.strait(feed=stream))
        self.assertEqual(self.source.read_bytes(), before)
        self.assert_works()

    def test_between_create_and_statement(self) -> None:
        """A set dies with its client; its name is free again."""
        client = self.served("backup", self.strait())
        client.kill()
        client.wait()
        self.assert_nobody_there(self.server.exec(self.statement("backup")), "middle")
        again = self.served("backup", self.strait("again"))
        again.kill()
        again.wait()

    def test_sqlcmd_dies_too(self) -> None:
        """As on a vendor's machine: the statement's connection hangs on the client."""
        strait = self.strait()
        client = self.pipe("B", "source", strait.path)
        strait.stop_after(MIDDLE)
        client.kill()
        wait_for(lambda: not self.server.running_jobs(), "the end of the job", NOTICE_S)
        client.wait()
        self.assert_nothing_new()
        self.assert_works()

    def test_secondary_process(self) -> None:
        """The server does not see it; the primary does, and aborts."""
        strait = self.strait("p.1")
        client = self.start("processes_client", "--backup", "source", "--file",
                            self.server.root / "p")
        strait.stop_after(MIDDLE)
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                 if self.is_first_secondary(pid, client)]
        self.assertEqual(len(found), 1)
        os.kill(found[0], signal.SIGKILL)
        ended = client.wait()
        self.assertIn("The process of device 1 ended badly\n", ended.text)
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
        self.assert_nothing_new()
        self.assert_works()

    @staticmethod
    def is_first_secondary(pid: int, client: Client) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return (os.getpgid(pid) == client.process.pid and b"secondary" in words
                    and words[words.index(b"--index") + 1] == b"0")
        except (OSError, ValueError):
            return False


class DeadServer(MiddleTestCase):
    """kill -9 of capstand: the client learns of it in whatever call it is."""

    def kill_in_the_middle(self, direction: str, strait: Strait) -> Ended:
        client = self.pipe(direction, "source", strait.path)
        strait.stop_after(MIDDLE)
        self.server.kill()
        strait.go_on()
        ended = client.wait()
        self.assertIn(f"Unexpected termination: {ABORTED}\n", ended.text, ended.describe())
        self.server.start()
        return ended

    def test_in_mid_backup(self) -> None:
        self.kill_in_the_middle("B", self.strait())
        self.assert_nothing_new()
        self.assert_works()

    def test_in_mid_restore(self) -> None:
        stream = self.stream()
        before = self.source.read_bytes()
        self.kill_in_the_middle("R", self.strait(feed=stream))
        self.assertEqual(self.source.read_bytes(), before)
        self.assert_works()

    def test_before_the_statement(self) -> None:
        """A client that waits for its configuration."""
        client = self.served("backup", self.strait())
        self.server.kill()
        ended = client.wait()
        self.assertIn(f"GetConfiguration failed: {ABORTED}\n", ended.text)
        self.server.start()

    def test_create_without_a_server(self) -> None:
        self.server.kill()
        ended = self.pipe("B", "source", self.server.media / "p").wait()
        self.assertIn("VDS::Create fails: x80770007\n", ended.text)  # VD_E_INSTANCE_NAME
        self.server.start()


class Cancelled(MiddleTestCase):
    """A requester's wish in mid-transfer."""

    def cancel_in_the_middle(self, direction: str, strait: Strait) -> Ended:
        client = self.pipe(direction, "source", strait.path)
        strait.stop_after(MIDDLE)
        [job] = self.server.running_jobs()
        self.assert_done(self.server.run("cancel", job["session_id"]))
        # The client has not come back from its write, and is not waited for.
        wait_for(lambda: not self.server.running_jobs(), "the end of the job", NOTICE_S)
        strait.go_on()
        ended = client.wait()
        self.assertIn(f"Unexpected termination: {ABORTED}\n", ended.text, ended.describe())
        return self.assert_failed(ended, 3204,
                                  statement="BACKUP" if direction == "B" else "RESTORE")

    def test_in_mid_backup(self) -> None:
        self.cancel_in_the_middle("B", self.strait())
        self.assert_nothing_new()
        self.assert_works()

    def test_in_mid_restore(self) -> None:
        stream = self.stream()
        before = self.source.read_bytes()
        self.cancel_in_the_middle("R", self.strait(feed=stream))
        self.assertEqual(self.source.read_bytes(), before)


class Statements(VendorTestCase):
    """Statements and sets that do not find each other."""

    def test_nobody_of_that_name(self) -> None:
        self.server.next_database()
        for name in ("nobody", "n" * 128, "no body"):
            outcome = self.server.exec(
                f"BACKUP DATABASE source TO VIRTUAL_DEVICE = '{name}' WITH FORMAT")
            self.assert_nobody_there(outcome, name)
            self.assertLess(outcome.seconds, 9)  # 10 s unless the configuration holds

    def test_restore_from_nobody(self) -> None:
        self.server.next_database()
        outcome = self.server.exec("RESTORE DATABASE source FROM VIRTUAL_DEVICE = 'nobody'"
                                   " WITH REPLACE")
        self.assert_nobody_there(outcome, "nobody")

    def assert_ended_early(self, ended: Ended, *numbers: int) -> None:
        """The client polls GetConfiguration each second, and looks at its statement."""
        self.assertEqual(ended.exit_code, 1)
        self.assertIn("The statement ended before the set was configured\n", ended.text)
        self.assertEqual(ended.numbers, list(numbers), ended.describe())
        self.assertLess(ended.seconds, PROMPT_S)

    def test_syntax_error(self) -> None:
        self.server.next_database()
        ended = self.run_client("threads_client", "--backup", "source", "--file",
                                self.server.media / "p", "--with", "NO SUCH OPTION")
        self.assertIn("The statement ended before the set was configured\n", ended.text)
        self.assertTrue(ended.numbers, ended.describe())
        self.assertLess(ended.seconds, PROMPT_S)

    def test_no_such_database(self) -> None:
        self.assert_ended_early(self.run_client("threads_client", "--backup", "missing", "--file",
                                                self.server.media / "p"), 911, 3013)

    def test_name_is_taken(self) -> None:
        self.server.next_database()
        arguments = ("threads_client", "--backup", "source", "--file", self.server.media / "p",
                     "--name", "taken", "--send", "no")
        first = self.start(*arguments)
        first.wait_for_text("Created\n")
        second = self.run_client(*arguments)
        self.assertIn("Create failed: x8077000C\n", second.text)  # VD_E_PROTOCOL
        first.kill()
        first.wait()

    def test_other_number_of_devices(self) -> None:
        self.server.next_database()
        client = self.start("threads_client", "--backup", "source", "--file",
                            self.server.media / "p", "--name", "n", "--devices", 3, "--send", "no")
        client.wait_for_text("Created\n")
        outcome = self.server.exec("BACKUP DATABASE source TO VIRTUAL_DEVICE = 'n',"
                                   " VIRTUAL_DEVICE = 'n2' WITH FORMAT")
        self.assert_error(outcome, 3261)
        self.assertIn(f"GetConfiguration failed: {ABORTED}\n", client.wait().text)

    def test_too_many_devices(self) -> None:
        ended = self.run_client("threads_client", "--backup", "source", "--file",
                                self.server.media / "p", "--devices", 65)
        self.assertIn("Create failed: x80770009\n", ended.text)  # VD_E_NOTSUPPORTED

    def test_name_is_too_long(self) -> None:
        ended = self.run_client("threads_client", "--backup", "source", "--file",
                                self.server.media / "p", "--name", "n" * 129)
        self.assertRegex(ended.text, r"Create failed: x8077000\w\n")


class Faults(VendorTestCase):
    """Clients that break the rules: their own statement fails, and nothing else does."""

    settings = {"open_timeout_s": 1, "device_timeout_s": 2}

    def run_faulty(self, fault: str, *arguments: object) -> Ended:
        self.server.next_database()
        begin = time.monotonic()
        ended = self.run_client("faulty_client", "--backup", "source", "--fault", fault, *arguments)
        self.assertLess(time.monotonic() - begin, 15)
        self.assertEqual(ended.exit_code, 1)
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe() + self.server.log_tail())
        self.assert_nothing_new()
        self.assert_works()
        return ended

    def test_never_opens(self) -> None:
        ended = self.run_faulty("never-opens")
        self.assertIn(f"Device 1 ended unexpectedly: {ABORTED}\n", ended.text)

    def test_never_takes(self) -> None:
        ended = self.run_faulty("never-takes")
        self.assertIn(f"Device 1 ended unexpectedly: {ABORTED}\n", ended.text)

    def test_signal_abort_in_mid_transfer(self) -> None:
        ended = self.run_faulty("aborts", "--after", 2, "--with", "MAXTRANSFERSIZE = 65536")
        self.assertIn("SignalAbort: x0\n", ended.text)
        self.assertIn(f"Device 1 ended unexpectedly: {ABORTED}\n", ended.text)
        self.assertIn("995(", ended.text)

    def test_close_in_mid_transfer(self) -> None:
        ended = self.run_faulty("closes", "--after", 2, "--with", "MAXTRANSFERSIZE = 65536")
        self.assertIn("Close: x8077000D\n", ended.text)  # VD_E_OPEN
        self.assertIn("995(", ended.text)

    def test_success_with_half_of_the_bytes(self) -> None:
        self.run_faulty("short-success")

    def test_more_bytes_than_there_are(self) -> None:
        """Refused by the library; the client then completes the command as it should."""
        self.server.next_database()
        ended = self.run_client("faulty_client", "--backup", "source", "--fault", "too-many-bytes")
        self.assertIn("Completion of too many bytes: x80770006\n", ended.text)  # VD_E_INVALID
        self.assert_transferred(ended, "BACKUP")

    def test_status_of_a_call_as_a_completion_code(self) -> None:
        """A common mistake: VD_E_ABORT is no Win32 number. It must not pass for success."""
        ended = self.run_faulty("vd-code", "--after", 2, "--with", "MAXTRANSFERSIZE = 65536")
        self.assertIn("Completion with a status of VDI: ", ended.text)

    def test_second_completion(self) -> None:
        self.server.next_database()
        ended = self.run_client("faulty_client", "--backup", "source", "--fault",
                                "completes-twice")
        self.assertIn("Second completion: x80770006\n", ended.text)
        self.assert_transferred(ended, "BACKUP")


if __name__ == "__main__":
    main()
