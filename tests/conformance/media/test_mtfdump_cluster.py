"""Clusters of PostgreSQL's in sets, to the eyes of tools/mtfdump.py (S1-29): the log record by
record, as PostgreSQL's own reader sees it, and files on which the stock server starts.

--bin names the folder of the programs.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "e2e"), str(Path(__file__).parent)]

import postgres  # noqa: E402
from harness import main as harness_main  # noqa: E402
from mtfdump.layout import Damage  # noqa: E402
from mtfdump.postgres_frames import cluster_of, log_frames, log_pieces  # noqa: E402
from mtfdump.postgres_set import (FILE, MANIFEST, ZEROS, Entry, parse_bundle,  # noqa: E402
                                  parse_manifest)
from mtfdump.wal import PAGE_SIZE, Piece, WalRange, WalReader  # noqa: E402
from test_mtfdump import run  # noqa: E402
from test_mtfdump_contents import NAME, ContentsTestCase, flip  # noqa: E402

NOTES = "SELECT count(*), min(note), max(note) FROM item"


def lines_of_readme() -> str:
    """What tools/mtfdump/README.md says is to be done before PostgreSQL is started."""
    text = (ROOT / "tools" / "mtfdump" / "README.md").read_text()
    lines = text.partition("```sh\n")[2].partition("```")[0]
    return lines[:lines.index("pg_ctl")]


def bundle(*entries: tuple[int, int, str, int, bytes | int]) -> bytes:
    """Of kind, mode, path, offset, and bytes or how many zeros."""
    payload, directory = b"", b""
    for kind, mode, path, offset, data in entries:
        payload += data if isinstance(data, bytes) else b""
        length = len(data) if isinstance(data, bytes) else data
        raw = path.encode("utf-8", "surrogateescape")
        directory += struct.pack("<BBHQQH", kind, 0, mode, offset, length, len(raw)) + raw
    return payload + directory + struct.pack("<IHHII", 0x42504743, 1, 0, len(entries),
                                             len(directory))


def manifest(*files: tuple[int, str, int]) -> bytes:
    listed = b"".join(struct.pack("<IHQH", place, 0o600, size, len(path)) + path.encode()
                      for place, path, size in files)
    return struct.pack("<IHQIII", 0x4D504743, 1, 5, 1, 0, len(files)) + listed + bytes(4)


class Bundles(unittest.TestCase):
    """What a bundle and a manifest may say; the rest leads nowhere."""

    def test_of_a_sound_one(self) -> None:
        raw = bundle((FILE, 0o600, "base/1/\udcff", 8192, b"page"), (ZEROS, 0o600, "a", 0, 1 << 40),
                     (FILE, 0o640, "empty", 0, b""), (MANIFEST, 0, "", 3, b"list"))
        self.assertEqual(parse_bundle(raw), [
            Entry(FILE, 0o600, "base/1/\udcff", 8192, 4, 0),
            Entry(ZEROS, 0o600, "a", 0, 1 << 40, 4),
            Entry(FILE, 0o640, "empty", 0, 0, 4), Entry(MANIFEST, 0, "", 3, 4, 4)])
        for size in range(len(raw)):
            with self.assertRaises(ValueError):
                parse_bundle(raw[size + 1:])
            with self.assertRaises(ValueError):
                parse_bundle(raw[:size])

    def test_paths_never_lead_out(self) -> None:
        for path in ("/etc/passwd", "../x", "a/../../x", "a/..", ".", "a//b", "a/", "", "a\0b",
                     "a" * 1025):
            with self.assertRaises(ValueError):
                parse_bundle(bundle((FILE, 0o600, path, 0, b"x")))
            with self.assertRaises(ValueError):
                parse_manifest(manifest((0, path, 1)), 1)

    def test_what_cannot_be(self) -> None:
        for entry in ((0, 0o600, "a", 0, b"x"), (4, 0o600, "a", 0, b"x"),
                      (FILE, 0o10000, "a", 0, b"x"), (FILE, 0o600, "a", (1 << 63) - 1, b"x"),
                      (ZEROS, 0o600, "a", 0, 0), (FILE, 0o600, "a", 1, b""),
                      (MANIFEST, 0, "a", 0, b"x")):
            with self.assertRaises(ValueError):
                parse_bundle(bundle(entry))
        whole = manifest((0, "a", 1), (1, "b", 0))
        self.assertEqual([(file.place, file.path, file.size)
                          for file in parse_manifest(whole, 2).files], [(0, "a", 1), (1, "b", 0)])
        with self.assertRaises(ValueError):
            parse_manifest(whole, 1)
        for size in range(len(whole)):
            with self.assertRaises(ValueError):
                parse_manifest(whole[:size], 2)


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class Postgres(ContentsTestCase):
    """S1-29 of clusters of PostgreSQL's, of one cluster, since it takes long to make."""

    def setUp(self) -> None:
        super().setUp()
        self.workshop = postgres.Workshop()
        self.addCleanup(self.workshop.close)
        self.cluster = self.workshop.cluster(NAME, wal_segment_mb=1, autovacuum="off",
                                             max_wal_size="64MB", wal_keep_size="64MB")
        self.cluster.start()
        self.cluster.tablespace("fast")
        self.cluster.sql("CREATE TABLE item TABLESPACE fast AS SELECT i, md5(i::text) AS note"
                         " FROM generate_series(1, 3000) AS i")
        self.cluster.sql("CREATE TABLE gone AS SELECT 1")
        self.server.attach(NAME, self.cluster.info(), scheme="postgresql")

    def test_a_chain(self) -> None:
        full = self.take("full.bak", options="COMPRESSION (ALGORITHM = ZSTD)")
        self.cluster.sql("CREATE TABLE later AS SELECT i FROM generate_series(1, 500) AS i")
        # Records over pages and segments, and the rest of a segment that is given up.
        self.cluster.sql("SELECT pg_logical_emit_message(true, 'long', repeat('x', 1500000))")
        self.cluster.sql("SELECT pg_switch_wal()")
        self.cluster.sql("INSERT INTO later SELECT generate_series(501, 900)")
        log = self.take("log.bak", "LOG")
        self.cluster.sql("DROP TABLE gone")
        differential = self.take("differential.bak", options="DIFFERENTIAL")
        self.cluster.sql("INSERT INTO later SELECT generate_series(901, 1000)")
        tail = self.take("tail.bak", "LOG")
        with self.subTest("chain"):
            self.check_chain_starts(full, differential, tail)
        with self.subTest("log"):
            self.check_records(log)
        with self.subTest("flips"):
            self.check_flips(log)
        with self.subTest("records"):
            self.check_each_record(log)
        with self.subTest("parts"):
            self.check_parts(log, differential)
        with self.subTest("full"):
            self.check_starts(full)

    def check_records(self, path: Path) -> None:
        """The same as PostgreSQL's own reader."""
        found, = self.facts(path, "--log")["sets"]
        bounds = [f"{found[name] >> 32:X}/{found[name] & 0xFFFFFFFF:X}"
                  for name in ("first_lsn", "last_lsn")]
        out = postgres.run("pg_waldump", "-p", self.cluster.data / "pg_wal", "-s", bounds[0],
                           "-e", bounds[1]).stdout
        expected = [(lsn_of(lsn), int(length), int(transaction), manager, lsn_of(previous))
                    for manager, length, transaction, lsn, previous in re.findall(
                        r"rmgr: (\w+) +len \(rec/tot\): +\d+/ *(\d+), tx: +(\d+), "
                        r"lsn: (\w+/\w+), prev (\w+/\w+)", out)]
        self.assertEqual([(lsn_of(row["lsn"]), row["length"], row["transaction"], row["manager"],
                           lsn_of(row["previous"])) for row in found["log"]], expected)
        self.assertGreater(len(expected), 800)
        self.assertGreater(max(length for _, length, *_ in expected), 1 << 20)
        meanings = {row["meaning"] for row in found["log"]}
        self.assertLessEqual({"commit", "switch of segments"}, meanings)
        self.assertIn(f"{found['log'][5]['lsn']} ", self.assert_readable(path))

    def check_flips(self, path: Path) -> None:
        found, = self.facts(path, "--frames", "--log")["sets"]
        raw = path.read_bytes()
        at = raw.index(b"x" * 4000) + 2000
        record = next(row for row in found["log"] if row["length"] > 1 << 20)
        self.assert_flip_is_named(path, at, f"the checksum of the record at {record['lsn']}",
                                  "another CRC32C")
        # The directory of a bundle, from its end.
        end = raw.rindex(struct.pack("<IHH", 0x42504743, 1, 0))
        self.assert_flip_is_named(path, end + 2, "does not end as a bundle")
        self.assert_flip_is_named(path, raw.rindex(b"pg_wal/0"), "another CRC32C")

    def check_each_record(self, path: Path) -> None:
        """Without the checksums of the medium: one flipped bit of a record, anywhere."""
        item = self.set_of(path)
        size = cluster_of(item).wal_segment_bytes
        pieces = list(log_pieces(item, log_frames(item), size))
        start = pieces[0].lsn
        log = b"".join(piece.data for piece in pieces)

        def read(begin: int, end: int, data: bytes) -> int:
            page = max(start, begin - begin % PAGE_SIZE)
            piece = Piece(page, data[page - start:end - start], lambda lsn, what: Damage(
                path, lsn, what))
            wanted = WalRange(begin, end, size, cluster_of(item).system_identifier)
            return sum(1 for _ in WalReader(iter([piece]), wanted).records())

        records = list(WalReader(iter(pieces), WalRange(
            start, start + len(log), size, cluster_of(item).system_identifier)).records())
        self.assertTrue(any(one.lsn // size != one.end // size for one in records))
        for index, record in enumerate(records[::23]):
            end = min(record.lsn + record.length, start + len(log))
            self.assertEqual(read(record.lsn, end, log), 1)
            at = record.lsn - start + index * 13 % min(record.length, 48)
            with self.assertRaisesRegex(Damage, "record|page"):
                read(record.lsn, end, flip(log, at))
        with self.assertRaisesRegex(Damage, "the log ends amid the record|the log ends at"):
            read(records[3].lsn, records[9].end, log[:records[9].lsn - start + 10])
        # A record that does not come behind the one before: all of it is right but its place.
        pair = records[3].lsn, records[5].end
        moved = bytearray(log)
        moved[records[4].lsn - start:records[4].end - start] = b""
        with self.assertRaisesRegex(Damage, "does not follow the one before|no record"):
            read(*pair, bytes(moved))

    def check_parts(self, log: Path, differential: Path) -> None:
        target = self.server.root / "parts"
        for path, what in ((log, "the log from"), (differential, "since the full backup")):
            folder = target / path.stem
            facts = self.facts(path, "--extract", folder)
            self.assertIn(what, " ".join(facts["notes"]))
            parts = json.loads((folder / "1" / "parts.json").read_text())
            held = [file for file in parts["files"] if file["pieces"]]
            self.assertTrue(held)
            for file in held:
                self.assertTrue((folder / "1" / file["path"]).is_file(), file)
        for segment in (target / "log" / "1").rglob("pg_wal/0*"):
            self.assertEqual(segment.stat().st_size, 1 << 20)

    def follow_readme(self, folder: Path) -> postgres.Cluster:
        """What was extracted, as a running cluster."""
        account = postgres.account().pw_name
        lines = lines_of_readme().replace("out/1", str(folder)).replace("postgres:", f"{account}:")
        postgres.give(folder.parent)
        subprocess.run(["sh", "-eu", "-c", lines], check=True, timeout=60)
        copy = self.workshop.adopt(folder / "data", folder.parent.name)
        copy.start()
        return copy

    def check_starts(self, full: Path) -> None:
        target = self.workshop.folder("alone")
        facts = self.facts(full, "--extract", target, "--log")
        self.assertIn("checkpoint", {row["meaning"] for row in facts["sets"][0]["log"]})
        self.assertEqual(facts["extracted"], [str(target / "1")])
        self.assertEqual(run(full, "--extract", target)[0], 1)  # what is there stays
        data = target / "1" / "data"
        space, = (target / "1" / "tablespaces").iterdir()
        self.assertEqual(space.name.partition("-")[2], "fast")
        self.assertTrue((data / "backup_label").is_file())
        self.assertFalse((data / "tablespace_map").exists())  # it would lead to the original's
        self.assertEqual(list((data / "pg_tblspc").iterdir()), [])
        copy = self.follow_readme(target / "1")
        self.assertEqual(copy.sql(NOTES), self.cluster.sql(NOTES))
        self.assertEqual(copy.value("SELECT to_regclass('later') IS NULL"), "t")
        self.assertEqual(copy.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace"
                                    " WHERE spcname = 'fast'"), str(space))
        copy.stop()
        copy.checksums()

    def check_chain_starts(self, full: Path, *parts: Path) -> None:
        target = self.workshop.folder("chain")
        self.facts(full, "--extract", target)
        for path in parts:
            self.facts(path, "--extract", target / path.stem, "--onto", target / "1")
        copy = self.follow_readme(target / "1")
        for query in (NOTES, "SELECT count(*), sum(i) FROM later"):
            self.assertEqual(copy.sql(query), self.cluster.sql(query))
        self.assertEqual(copy.value("SELECT to_regclass('gone') IS NULL"), "t")
        copy.stop()
        copy.checksums()


def lsn_of(text: str) -> int:
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


if __name__ == "__main__":
    harness_main()
