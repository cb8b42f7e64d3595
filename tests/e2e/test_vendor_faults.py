"""A vendor's program that leaves a backup in one of the ways that a client can: each ends the
statement in SQL Server's words, with 18210 in the error log and a hint that names the program, what
was being done, and why it ended.
"""

from __future__ import annotations

import os
import signal
import subprocess

from harness import (PATIENCE_S, PROMPT_S, Programs, ServerTestCase, die_with_parent, main,
                     wait_for)

STATEMENT = "BACKUP DATABASE source TO VIRTUAL_DEVICE = 'vendor' WITH FORMAT"
ABORTED = ("995(The I/O operation has been aborted because of either a thread exit or an "
           "application request.)")


class VendorFaults(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server.next_database()

    def start_vendor(self, fault: str) -> subprocess.Popen[str]:
        vendor = subprocess.Popen(
            [Programs.path("vdi_victim"), "vendor", self.server.data / "vdi.sock", "vendor",
             self.server.media / "vendor.dat", fault],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=die_with_parent)
        assert vendor.stdout is not None
        self.assertEqual(vendor.stdout.readline(), "created\n")
        self.addCleanup(vendor.stdout.close)
        self.addCleanup(vendor.wait, PATIENCE_S)
        self.addCleanup(vendor.kill)
        return vendor

    def check(self, fault: str, cause: str) -> None:
        """The fault comes with the first Flush."""
        vendor = self.start_vendor(fault)
        outcome = self.server.exec(STATEMENT)
        error = self.assert_error(outcome, 3202)
        self.assertEqual(error.text, f'Write on "vendor" failed: {ABORTED}')
        self.assertIn(f"device set 'vendor', served by pid {vendor.pid}, ended while flushing: ",
                      error.hint)
        self.assertIn(cause, error.hint)
        self.assertNotIn("\n", error.hint.strip())
        self.assertLess(outcome.seconds, PROMPT_S)
        log = self.server.errorlog.read_text()
        self.assertIn("Error: 18210, Severity: 16, State: 1.", log)
        self.assertIn("BackupVirtualDeviceFile::RequestDurableMedia: Flush failure on backup device "
                      f"'vendor'. Operating system error {ABORTED}.", log)
        if fault == "stop":
            os.kill(vendor.pid, signal.SIGCONT)
        vendor.wait(PATIENCE_S)
        wait_for(lambda: not self.server.journal(), "an empty journal")
        self.assert_works()

    def test_signal_abort(self) -> None:
        self.check("abort", "the client called SignalAbort")

    def test_close_with_open_devices(self) -> None:
        self.check("leave", "the client closed the set with devices open")

    def test_death(self) -> None:
        self.check("die", "is gone")

    def test_silence_longer_than_server_time_out(self) -> None:
        self.check("stop", "in two intervals of 200 ms")

    def test_fewer_devices_than_the_statement_names(self) -> None:
        """3261: the program was made for one device, the statement names two."""
        self.start_vendor("")
        outcome = self.server.exec("BACKUP DATABASE source TO VIRTUAL_DEVICE = 'vendor', "
                                   "VIRTUAL_DEVICE = 'vendor2'")
        error = self.assert_error(outcome, 3261)
        self.assertIn("was created for 1 devices, the statement names 2", error.hint)
        self.assert_works()


if __name__ == "__main__":
    main()
