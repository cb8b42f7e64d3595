"""Each kind of client makes a backup of a real database and restores it (VDI specification)."""

from __future__ import annotations

import filecmp
import os
import re
import unittest
from pathlib import Path

from vendor import Ended, VendorTestCase, content_of, main

BLOCK_SIZE = 512
# The pipe client's line for a command: code, completion code, bytes.
COMPLETED = re.compile(r"^Completed command code: (\d+), completionCode: (\d+), bytes; (\d+) $",
                       re.MULTILINE)
READ, WRITE, FLUSH = 1, 2, 12


class Pipe(VendorTestCase):
    """The smallest client, with the statements and prints of the sample for Linux."""

    def back_up(self, database: str, file: Path) -> Ended:
        ended = self.assert_piped(self.pipe("B", database, file).wait(), "BACKUP")
        self.assertIn("Features returned by SQL Server: 0x10000\n", ended.text)
        commands = [tuple(map(int, found)) for found in COMPLETED.findall(ended.text)]
        self.assertEqual({code for code, _, _ in commands}, {WRITE, FLUSH}, "a backup only writes")
        self.assertEqual(commands[-1], (FLUSH, 0, 0), "the last command is Flush")
        self.assertEqual({status for _, status, _ in commands}, {0})
        self.assertEqual(sum(size for _, _, size in commands), file.stat().st_size)
        self.assertEqual(file.stat().st_size % BLOCK_SIZE, 0)
        return ended

    def restore(self, database: str, file: Path) -> Ended:
        ended = self.assert_piped(self.pipe("R", database, file).wait(), "RESTORE")
        self.assertIn("Features returned by SQL Server: 0x20000\n", ended.text)
        return ended

    def test_rollback_journal(self) -> None:
        path = self.add_proj()
        file = self.server.media / "proj.vdi"
        pages = path.read_bytes()
        self.assert_round_trip(path, lambda: self.back_up("proj", file),
                               lambda: self.restore("proj", file))
        self.assertEqual(path.read_bytes(), pages)
        # What a vendor's program keeps is a medium like any other.
        self.assert_done(self.server.verify(file))
        self.assertEqual([row["database_name"] for row in self.server.backup_sets()], ["proj"])
        kinds = self.server.query("SELECT device_type FROM msdb.dbo.backupmediafamily")
        self.assertEqual([row["device_type"] for row in kinds], [7])

    def test_wal(self) -> None:
        path = self.add_wal()
        file = self.server.media / "source.vdi"
        self.assert_round_trip(path, lambda: self.back_up("source", file),
                               lambda: self.restore("source", file))

    def test_two_at_once(self) -> None:
        self.add_proj()
        self.add_wal()
        files = {name: self.server.media / f"{name}.vdi" for name in ("proj", "source")}
        clients = [self.pipe("B", name, file) for name, file in files.items()]
        for client in clients:
            self.assert_piped(client.wait(), "BACKUP")
        for file in files.values():
            self.assert_done(self.server.verify(file))
        self.assertEqual(len(self.server.backup_sets()), 2)

    def test_wrong_usage(self) -> None:
        self.assertEqual(self.run_client("pipe_client", "B", "D", "proj").exit_code, 1)


class FramedTestCase(VendorTestCase):
    """What all other clients have in common: their command line."""

    def transfer(self, program: str, way: str, database: str, *arguments: object,
                 devices: int = 1) -> Ended:
        return self.assert_transferred(
            self.run_client(program, f"--{way}", database, *arguments),
            "BACKUP" if way == "backup" else "RESTORE", devices)

    def round_trip(self, path: Path, database: str, program: str, *arguments: object,
                   devices: int = 1) -> tuple[Ended, Ended]:
        ended: list[Ended] = []

        def go(way: str) -> Ended:
            ended.append(self.transfer(program, way, database, *arguments, devices=devices))
            return ended[-1]
        self.assert_round_trip(path, lambda: go("backup"), lambda: go("restore"))
        return ended[0], ended[1]


class Threads(FramedTestCase):
    def test_two_devices(self) -> None:
        path = self.add_proj()
        self.round_trip(path, "proj", "threads_client", "--file", self.server.media / "p",
                        devices=2)
        files = [self.server.media / f"p.{number}" for number in (1, 2)]
        self.assert_done(self.server.verify(*files))

    def test_32_devices(self) -> None:
        self.round_trip(self.add_wal(), "source", "threads_client", "--file",
                        self.server.media / "s", "--devices", 32, devices=32)

    def test_64_devices(self) -> None:
        self.add_proj()
        self.transfer("threads_client", "backup", "proj", "--file", self.server.media / "p",
                      "--devices", 64, devices=64)


class Processes(FramedTestCase):
    def test_two_devices(self) -> None:
        self.round_trip(self.add_proj(), "proj", "processes_client", "--file",
                        self.server.media / "p", devices=2)

    def test_16_devices(self) -> None:
        self.round_trip(self.add_wal(), "source", "processes_client", "--file",
                        self.server.media / "s", "--devices", 16, devices=16)

    def test_buffers_handed_to_another_process(self) -> None:
        """GetBufferHandle in the process that has the command, MapBufferHandle in a helper."""
        for ended in self.round_trip(self.add_wal(), "source", "processes_client", "--file",
                                     self.server.media / "s", "--helper", "yes", devices=2):
            transfers = re.search(r"The helper did (\d+) transfers", ended.text)
            assert transfers is not None, ended.describe()
            self.assertGreater(int(transfers[1]), 0)


class Disk(FramedTestCase):
    def test_positions(self) -> None:
        path = self.add_proj()
        file = self.server.media / "p"
        self.round_trip(path, "proj", "disk_client", "--file", file)
        self.assert_done(self.server.verify(file))

    def test_flush_cuts_off_what_was_longer(self) -> None:
        self.add_wal()
        file = self.server.media / "s"
        file.write_bytes(b"old" * (8 << 20))
        self.transfer("disk_client", "backup", "source", "--file", file)
        self.assertLess(file.stat().st_size, 8 << 20)
        self.assert_done(self.server.verify(file))


class Queue(FramedTestCase):
    """Several commands in the client's hands, completed in another order; VDC_Complete."""

    def deepest(self, ended: Ended) -> int:
        found = re.search(r"^Deepest queue: (\d+)$", ended.text, re.MULTILINE)
        assert found is not None, ended.describe()
        return int(found[1])

    def test_out_of_order(self) -> None:
        path = self.add_wal(16 << 20)
        back, forth = self.round_trip(path, "source", "async_client", "--file",
                                      self.server.media / "s", "--with",
                                      "MAXTRANSFERSIZE = 65536, BUFFERCOUNT = 16")
        self.assertGreater(self.deepest(back), 1)
        self.assertGreater(self.deepest(forth), 1)

    def test_store_confirms(self) -> None:
        path = self.add_proj()
        file = self.server.media / "p"
        back, forth = self.round_trip(path, "proj", "async_client", "--file", file, "--store",
                                      "confirm")
        self.assertIn("The store has confirmed\n", back.text)
        stored = file.with_name("p.stored")
        self.assertEqual(stored.read_bytes(), file.read_bytes())
        self.assert_done(self.server.verify(stored))

    def test_store_refuses(self) -> None:
        """The whole stream is there, and still there is no backup."""
        self.add_proj()
        ended = self.run_client("async_client", "--backup", "proj", "--file",
                                self.server.media / "p", "--store", "refuse")
        self.assertIn("The store has refused\n", ended.text)
        self.assert_failed(ended, 3202)
        self.assertIn("39(", ended.text)
        self.assertEqual(ended.exit_code, 1)
        self.assert_nothing_new()


class Prefix(FramedTestCase):
    def test_header_in_front_of_each_buffer(self) -> None:
        path = self.add_wal()
        for ended in self.round_trip(path, "source", "prefix_client", "--file",
                                     self.server.media / "s"):
            self.assertIn("Prefix zone of 512, alignment of 4096\n", ended.text)
            self.assertRegex(ended.text, r"Records: [1-9]\d*, misaligned: 0\n")
        self.assertNotEqual(content_of(path), "")

    def test_small_blocks_do_not_weaken_the_alignment(self) -> None:
        self.add_proj()
        self.transfer("prefix_client", "backup", "proj", "--file", self.server.media / "p",
                      "--with", "BLOCKSIZE = 512, MAXTRANSFERSIZE = 65536")


class Names(FramedTestCase):
    """Whatever a name is made of, the set is found by it."""

    def assert_name(self, name: str, devices: int = 2) -> None:
        self.transfer("threads_client", "backup", "source", "--file", self.server.media / "n",
                      "--name", name, devices=devices)

    def test_odd_names(self) -> None:
        self.server.next_database()
        for name in ("{9E4C3A52-7A0E-4B6B-9C3B-0D4F1E1C2A77}", "with spaces in it", "it's quoted",
                     "a/b:c|d", "Wörter", "x" * 127):
            with self.subTest(name=name):
                self.assert_name(name)

    def test_longest_name(self) -> None:
        self.server.next_database()
        self.transfer("disk_client", "backup", "source", "--file", self.server.media / "n",
                      "--name", "y" * 128)

    def test_case_matters(self) -> None:
        """Two sets whose names differ in case are two sets."""
        self.server.next_database()
        self.assert_name("Set")
        self.assert_name("sET")


class Listings(VendorTestCase):
    """Statements that read from a virtual device without restoring."""

    def test_label_header_file_list_and_verification(self) -> None:
        self.add_proj()
        file = self.server.media / "p.1"
        self.assert_piped(self.pipe("B", "proj", file).wait(), "BACKUP")
        for verb, word in (("LABELONLY", "Capstan"), ("HEADERONLY", "proj"),
                           ("FILELISTONLY", "proj"), ("VERIFYONLY", "is valid")):
            with self.subTest(verb=verb):
                client = self.start("threads_client", "--restore", "proj", "--devices", 1, "--file",
                                    file.with_suffix(""), "--name", verb, "--send", "no")
                client.wait_for_text("Created\n")
                outcome = self.assert_done(
                    self.server.exec(f"RESTORE {verb} FROM VIRTUAL_DEVICE = '{verb}'"))
                self.assertIn(word, outcome.stdout)
                ended = client.wait()
                self.assertEqual((ended.exit_code, ended.devices_closed), (0, 1), ended.describe())


@unittest.skipUnless(os.environ.get("CAPSTAN_TEST_LARGE"), "needs 15 GB: CAPSTAN_TEST_LARGE=1")
class Large(VendorTestCase):
    """Positions and counts beyond 32 bits."""

    def test_more_than_4_gb(self) -> None:
        path = self.server.next_database(size=(4 << 30) + (300 << 20))
        file = self.server.media / "large"
        self.assert_piped(self.pipe("B", "source", file).wait(), "BACKUP")
        self.assertGreater(file.stat().st_size, 4 << 30)
        self.assert_done(self.server.verify(file))
        before = path.rename(path.with_suffix(".before"))
        self.assert_piped(self.pipe("R", "source", file).wait(), "RESTORE")
        self.assertTrue(filecmp.cmp(before, path, shallow=False))


if __name__ == "__main__":
    main()
