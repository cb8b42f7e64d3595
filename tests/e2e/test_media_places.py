"""Media sets in every place where media can be: the same statements, the same outcomes."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing

from harness import Outcome, content_of, main, wait_for
from places import Drives, Folder, ObjectStore, PlaceTestCase


class Sets(PlaceTestCase):
    """What an administrator does with media sets of two families, in every place. S3-28"""

    def change_database(self, number: int) -> str:
        """Another state of it; returns its content."""
        path = self.server.db / "test.db"
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("INSERT INTO item VALUES (?, 'later', 'x')", (1_000_000 + number,))
        return content_of(path)

    def backup(self, devices: str, options: str = "") -> Outcome:
        return self.server.exec(f"BACKUP DATABASE test TO {devices}"
                                + (f" WITH {options}" if options else ""))

    def restored(self, devices: str, number: int) -> str:
        copy = self.server.db / "copy.db"
        self.assert_done(self.server.exec(f"RESTORE DATABASE copied FROM {devices} WITH REPLACE,"
                                          f" FILE = {number}, MOVE 'test' TO '{copy}'"))
        return content_of(copy)

    def positions(self, number: int = 0) -> list[object]:
        return [row["Position"] for row in self.headers(self.place.clause(number))]

    def contents(self) -> list[bytes]:
        return [self.place.contents(number) for number in (0, 1)]

    def test_sets_are_appended_found_and_restored(self) -> None:
        """S3-17, S3-18"""
        other_way = f"{self.place.clause(1)}, {self.place.clause(0)}"
        states = []
        for number in (1, 2, 3):
            states.append(self.change_database(number))
            made = self.assert_done(self.backup(other_way if number == 2 else self.devices,
                                                f"CHECKSUM, NAME = N'set {number}'"))
            self.assertIn(f"file 'test' on file {number}.", made.stdout)
        for medium in (0, 1):
            self.assertEqual([(row["Position"], row["BackupName"])
                              for row in self.headers(self.place.clause(medium))],
                             [(number, f"set {number}") for number in (1, 2, 3)])
        for number in (2, 3, 1):
            self.assertEqual(self.restored(other_way, number), states[number - 1])
            verified = self.assert_done(self.server.exec(
                f"RESTORE VERIFYONLY FROM {self.devices} WITH FILE = {number}, CHECKSUM"))
            self.assertIn(f"The backup set on file {number} is valid.", verified.stdout)
        files = self.server.query(f"RESTORE FILELISTONLY FROM {self.device} WITH FILE = 3")
        self.assertEqual([row["LogicalName"] for row in files], ["test"])
        missing = self.server.exec(f"RESTORE VERIFYONLY FROM {self.devices} WITH FILE = 4")
        self.assert_error(missing, 3287, "the medium holds 3 backup sets",
                          terminated="VERIFY DATABASE")

    def test_init_keeps_the_header_and_format_does_not(self) -> None:
        """S3-21, S3-22"""
        self.assert_done(self.backup(self.devices, "MEDIANAME = N'Nightly', RETAINDAYS = 0"))
        self.assert_done(self.backup(self.devices))
        label = f"RESTORE LABELONLY FROM {self.device}"
        first = self.server.query(label)[0]
        self.assertEqual(first["MediaName"], "Nightly")
        state = self.change_database(1)
        self.assert_done(self.backup(self.devices, "INIT"))
        self.assertEqual(self.positions(), [1])
        self.assertEqual(self.server.query(label)[0]["MediaSetId"], first["MediaSetId"])
        self.assertEqual(self.restored(self.devices, 1), state)
        self.assert_done(self.backup(self.devices, "FORMAT, COMPRESSION"))
        second = self.server.query(label)[0]
        self.assertNotEqual(second["MediaSetId"], first["MediaSetId"])
        self.assert_done(self.backup(self.devices))
        self.assertEqual([bool(row["Compressed"]) for row in self.headers(self.device)],
                         [True, True])
        self.assertEqual(self.restored(self.devices, 2), state)

    def test_refusals_leave_the_media_as_they_are(self) -> None:
        self.assert_done(self.backup(self.devices, "MEDIANAME = N'Nightly', RETAINDAYS = 3"))
        before = self.contents()
        for devices, options, number in (
                (self.devices, "MEDIANAME = N'Weekly'", 4037), (self.devices, "INIT", 4030),
                (self.devices, "COMPRESSION", 3098), (self.device, "NOINIT", 3132),
                (f"{self.device}, {self.device}", "NOINIT", None)):
            refused = self.backup(devices, options)
            self.assertEqual(refused.exit_code, 1, refused.describe())
            if number is not None:
                self.assertEqual(refused.numbers, [number, 3013], refused.describe())
        alone = self.server.exec(f"RESTORE DATABASE copied FROM {self.device}")
        self.assert_error(alone, 3132, "family 2", terminated="RESTORE DATABASE")
        self.assertTrue(self.contents() == before)

    def test_mirrors_are_alike(self) -> None:
        """S1-58"""
        mirrored = f"{self.place.clause(0)} MIRROR TO {self.place.clause(1)}"
        outcome = self.backup(mirrored, "FORMAT")
        if self.place.without_mirrors:
            self.assert_error(outcome, 3031, "MIRROR TO")
            self.skipTest(self.place.without_mirrors)
        self.assert_done(outcome)
        self.assertTrue(self.place.contents(0) == self.place.contents(1))
        self.assertEqual(self.restored(self.place.clause(1), 1),
                         content_of(self.server.db / "test.db"))

    def test_a_killed_server_leaves_the_sets_before(self) -> None:
        """The long form kills CAPSTAN_TEST_ROUNDS backups, the later ones at any moment."""
        self.server.next_database(name="large", size=24 << 20)
        random.seed(os.environ.get("CAPSTAN_TEST_SEED"))
        self.assert_done(self.backup(self.devices))
        whole = 1
        for round_number in range(int(os.environ.get("CAPSTAN_TEST_ROUNDS", "1"))):
            running = self.server.popen(
                "exec", f"BACKUP DATABASE large TO {self.devices}"
                        " WITH MAXTRANSFERSIZE = 65536, BUFFERCOUNT = 2")
            if round_number == 0:
                wait_for(lambda: running.poll() is not None or any(
                    float(str(job["percent_complete"])) > 0 for job in self.server.running_jobs()),
                    "some of the set", interval_s=0)
            else:
                time.sleep(random.uniform(0, 0.6))
            self.server.kill()
            running.communicate()
            whole = self.check_after_a_crash(whole)

    def check_after_a_crash(self, whole: int) -> int:
        """So many sets were whole; returns how many are after another backup."""
        self.start()
        wait_for(lambda: not self.server.journal(), "the job to be settled")
        found = len(self.positions())
        self.assertIn(found, (whole, whole + 1))
        now = content_of(self.server.db / "test.db")
        self.assertEqual(self.restored(self.devices, 1), now)
        self.assert_done(self.backup(self.devices))
        self.assertGreaterEqual(len(self.positions()), found)
        self.assertEqual(self.positions(1), self.positions(0))
        self.assertEqual(self.restored(self.devices, len(self.positions())), now)
        return len(self.positions())


class OnDisk(Sets):
    place_type = Folder


class OnTape(Sets):
    place_type = Drives


class OnS3(Sets):
    place_type = ObjectStore


del Sets  # abstract: unittest would run it, too


if __name__ == "__main__":
    main()
