"""What is inside of sets, to the eyes of tools/mtfdump.py (S1-29): SQLite's log, block by block and
frame by frame, and the parts that a chain consists of. test_mtfdump_cluster.py has PostgreSQL's.

--bin names the folder of the programs.
"""

from __future__ import annotations

import re
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "e2e"), str(Path(__file__).parent)]

from harness import ServerTestCase, disks, main as harness_main, make_database  # noqa: E402
from mtfdump.families import BackupSet, collect  # noqa: E402
from mtfdump.payloads import PayloadStream, readable_frames  # noqa: E402
from mtfdump.record_hash import record_hash  # noqa: E402
from mtfdump.sqlite_log import FRAME_HEADER_SIZE, LogChecker, parse_header  # noqa: E402
from mtfdump.walk import read_medium  # noqa: E402
from test_mtfdump import MediaTestCase, flipped, run  # noqa: E402

NAME = "shop"
WIDTH_MAX = 100


class ContentsTestCase(ServerTestCase, MediaTestCase):
    """A database `shop` and its backups."""

    def take(self, name: str, what: str = "DATABASE", options: str = "NO_COMPRESSION") -> Path:
        path = self.server.media / name
        self.assert_done(self.server.exec(
            f"BACKUP {what} {NAME} TO {disks(path)} WITH FORMAT, {options}"))
        return path

    def log_of(self, path: Path, *options: str) -> list[dict]:
        found, = self.facts(path, "--log", *options)["sets"]
        return found["log"]

    def set_of(self, path: Path) -> BackupSet:
        medium = read_medium(path)
        self.addCleanup(medium.image.close)
        item, = collect([medium])
        return item

    def assert_readable(self, path: Path) -> str:
        status, out, err = run(path, "--log", "--frames")
        self.assertEqual((status, err), (0, ""))
        lines = out[out.index("  log of set"):].splitlines()
        self.assertLessEqual(max(map(len, lines)), WIDTH_MAX)
        return out

    def assert_flip_is_named(self, path: Path, at: int, *names: str) -> None:
        """On standard error, with the place."""
        with flipped(path, at):
            status, _, err = run(path, "--log")
            extracted = run(path, "--extract", self.server.root / "nothing")
        self.assertEqual((status, extracted[0]), (1, 1))
        self.assertIn(f"{path}: byte ", err)
        for name in names:
            self.assertIn(name, err)
        self.assertEqual(list(self.server.root.glob("nothing/*/*")), [])


class Sqlite(ContentsTestCase):
    """S1-29 of databases of SQLite's."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.server.db / "shop.db"
        make_database(self.path, 256 << 10)
        self.server.attach(NAME, self.path)
        self.full = self.take("full.bak")
        self.commits = 0

    def commit(self, count: int) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS sale (n INTEGER PRIMARY KEY, note BLOB)")
            for _ in range(count):
                database.execute("INSERT INTO sale (note) VALUES (randomblob(9000))")
        self.commits += count

    def content(self) -> list[tuple]:
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute("SELECT n, note FROM sale").fetchall()

    def test_blocks_and_frames_of_a_log(self) -> None:
        self.commit(30)
        for options in ("NO_COMPRESSION", "COMPRESSION (ALGORITHM = ZSTD)"):
            path = self.take("log.bak", "LOG", options)
            log = self.log_of(path, "--frames")
            self.assertEqual([log[0]["kind"], log[-1]["kind"]], ["begin", "end"])
            frames = [frame for block in log for frame in block.get("frames", ())]
            self.assertEqual(sum(block["pages"] for block in log), len(frames))
            self.assertEqual(sum(block["commits"] for block in log),
                             len([frame for frame in frames if frame["commit_pages"]]))
            out = self.assert_readable(path)
            for block in log:
                self.assertRegex(out, rf"(?m)^ +{block['block']} {block['kind']} .*{block['to']} ")
            for frame in frames:
                self.assertRegex(out, rf"frame {frame['lsn']} +page +{frame['page']}\b")
            found, = self.facts(path)["sets"]
            text = f"{found['last_lsn'] >> 32}:{found['last_lsn'] & 0xFFFFFFFF}"
            self.assertEqual(log[-1]["to"], text)
            if options == "NO_COMPRESSION":
                self.assertGreaterEqual(sum(block["commits"] for block in log), self.commits)
                self.assertGreater(found["last_lsn"], found["first_lsn"])
                self.assertEqual((found["kind"], found["begins_log_chain"]), ("LOG", 1))
                self.assertEqual(found["files"][0]["partial"], 1)
            self.commit(5)

    def test_a_log_over_several_families(self) -> None:
        self.commit(40)
        paths = [self.server.media / name for name in ("log1.bak", "log2.bak")]
        self.assert_done(self.server.exec(
            f"BACKUP LOG {NAME} TO {disks(*paths)} WITH FORMAT, MAXTRANSFERSIZE = 65536"))
        found, = self.facts(*paths[::-1], "--log")["sets"]
        self.assertGreater(found["frame_count"], 4)
        self.assertGreaterEqual(sum(block["commits"] for block in found["log"]), 40)
        status, _, err = run(paths[0], "--log")
        self.assertEqual(status, 1)
        self.assertIn("not given: families 2 of 2", err)

    def test_what_cannot_be_had(self) -> None:
        self.assert_done(self.server.exec("CREATE CERTIFICATE key1 WITH SUBJECT = 'test'"))
        self.commit(1)
        path = self.take("log.bak", "LOG", "ENCRYPTION (ALGORITHM = AES_256, "
                                           "SERVER CERTIFICATE = key1)")
        for options in (["--log"], ["--log", "--json"],
                        ["--extract", self.server.root / "out"]):
            status, _, err = run(path, *options)
            self.assertEqual(status, 1)
            self.assertIn("set 1 cannot be", err)
            self.assertIn("key is not here", err)
        self.assertEqual(run(path, "--onto", self.server.root)[0], 2)

    def test_parts_of_a_chain_give_the_database(self) -> None:
        self.commit(20)
        differential = self.take("differential.bak", options="DIFFERENTIAL")
        first = self.take("first.bak", "LOG")
        self.commit(20)
        second = self.take("second.bak", "LOG")
        expected = self.content()
        target = self.server.root / "out"
        full, = self.facts(self.full)["sets"]
        found, = self.facts(differential)["sets"]
        self.assertEqual(found["differential_base_guid"], full["guid"])
        self.assertEqual(found["differential_base_lsn"], full["checkpoint_lsn"])
        for chain in ([self.full, differential, second], [self.full, first, second]):
            folders = [target / chain[1].stem / path.stem for path in chain]
            for path, folder in zip(chain, folders):
                onto = ["--onto", folders[0] / "1"] if path != self.full else []
                facts = self.facts(path, "--extract", folder, *onto)
                self.assertEqual(any("is a part" in note for note in facts["notes"]),
                                 path != self.full)
            with closing(sqlite3.connect(folders[0] / "1" / "shop.db")) as copy:
                self.assertEqual(copy.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
                self.assertEqual(copy.execute("SELECT n, note FROM sale").fetchall(), expected)

    def test_a_flipped_byte_of_a_log_is_named(self) -> None:
        self.commit(10)
        path = self.take("log.bak", "LOG")
        raw = path.read_bytes()
        blocks = [match.start() for match in re.finditer(b"CSLG", raw)]
        frames = next(at for at in blocks if raw[at + 6] == 2)
        number = blocks.index(frames) + 1
        self.assert_flip_is_named(path, frames + 40, f"block {number}", "header",
                                  "another CRC32C")
        self.assert_flip_is_named(path, frames + 96 + 500, f"block {number} (",
                                  "hash of its frames")
        self.assert_flip_is_named(path, blocks[-1] + 30, f"block {len(blocks)}", "header")

    def test_each_byte_of_blocks_counts(self) -> None:
        """Without the checksums of the medium."""
        self.commit(3)
        path = self.take("log.bak", "LOG")
        blocks = list(self.blocks(path))
        self.assertEqual(self.fault(blocks), "")
        for index, (header, payload) in enumerate(blocks):
            for at in range(0, len(header), 5):
                changed = [*blocks]
                changed[index] = (flip(header, at), payload)
                self.assertIn(f"block {index + 1}", self.fault(changed))
            for at in range(0, len(payload), 997):
                changed = [*blocks]
                changed[index] = (header, flip(payload, at))
                self.assertIn(f"block {index + 1} (", self.fault(changed))
        # Whole blocks that do not follow each other, hashed as they are.
        frames = next(index for index, (_, payload) in enumerate(blocks) if payload)
        header, payload = blocks[frames]
        size = int.from_bytes(header[8:12], "little") + FRAME_HEADER_SIZE
        damaged = flip(payload, size + FRAME_HEADER_SIZE + 7)
        body = header[:80] + struct.pack("<Q", record_hash(damaged))
        blocks[frames] = (body + struct.pack("<Q", record_hash(body)), damaged)
        self.assertRegex(self.fault(blocks),
                         f"block {frames + 1} .*: the running checksum of frame")

    def blocks(self, path: Path) -> list[tuple[bytes, bytes]]:
        item = self.set_of(path)
        stream = PayloadStream(item, readable_frames(item))
        blocks = []
        while not stream.at_end():
            header = stream.read(96)
            blocks.append((header, stream.read(parse_header(header, 1, 0).payload_bytes)))
        return blocks

    def fault(self, blocks: list[tuple[bytes, bytes]]) -> str:
        checker = LogChecker()
        try:
            for number, (header, payload) in enumerate(blocks, 1):
                checker.take(parse_header(header, number, 0), payload)
        except ValueError as error:
            return str(error)
        return ""


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:]


if __name__ == "__main__":
    harness_main()
