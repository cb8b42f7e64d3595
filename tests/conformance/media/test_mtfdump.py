"""Media of the product and of its writers, to the eyes of tools/mtfdump.py, which shares nothing
with them but format.md: sound ones are, with the right facts and files, and no byte can change.

--bin names the folder of the programs. MTFDUMP_STRIDE=1 in the environment flips every byte instead
of some hundreds of them, a larger number every so many.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "e2e")]

from harness import Programs, ServerTestCase, main as harness_main  # noqa: E402
from mtfdump import command, crc32c  # noqa: E402
from mtfdump.coding import lz4_block  # noqa: E402
from mtfdump.descriptor import parse  # noqa: E402
from mtfdump.families import check, collect  # noqa: E402
from mtfdump.layout import Damage  # noqa: E402
from mtfdump.walk import read_medium  # noqa: E402

STRIDE = int(os.environ.get("MTFDUMP_STRIDE", "0"))


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command.main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


def damages_of(*paths: Path) -> list[Damage]:
    media = [read_medium(path) for path in paths]
    check(collect(media))
    for medium in media:
        medium.image.close()
    return [damage for medium in media for damage in medium.damages]


@contextlib.contextmanager
def flipped(path: Path, offset: int) -> Iterator[None]:
    """The medium with one bit changed for a while."""
    with open(path, "r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1 << offset % 8]), offset)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), byte, offset)


def payload_of(place: tuple[int, int]) -> bytes:
    """What medium_builder.h puts into a frame of the first file: offset and length."""
    offset, length = place
    state, made = offset * 31 + 1, bytearray()
    for _ in range(length):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        made.append(state >> 56)
    return bytes(made)


class MediaTestCase(unittest.TestCase):
    """What tests of media have in common."""

    def facts(self, *arguments: object) -> dict:
        status, out, err = run(*arguments, "--json")
        self.assertEqual((status, err), (0, ""), arguments)
        return json.loads(out)

    def assert_every_flip_is_found(self, paths: list[Path], offsets: Iterable[int]) -> None:
        """In the last of the media, each of which is sound before and afterwards."""
        self.assertEqual(damages_of(*paths), [])
        for offset in offsets:
            with flipped(paths[-1], offset):
                found = damages_of(*paths)
            self.assertTrue(found, f"{paths[-1].name}: nothing wrong with byte {offset}")
            self.assertEqual({damage.path for damage in found}, {paths[-1]})
        self.assertEqual(damages_of(*paths), [])


class Checksums(unittest.TestCase):
    """What the reader computes by itself."""

    def test_crc32c_of_known_text(self) -> None:
        self.assertEqual(crc32c.crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c.crc32c(b""), 0)

    def test_crc32c_folds_to_what_its_table_gives(self) -> None:
        source = random.Random(1)
        for size in (1, 1250, 1251, 1252, 1253, 2500, 5003, 40_001, 300_000, (1 << 20) + 1):
            data = source.randbytes(size)
            seed = source.getrandbits(32)
            table = crc32c._by_table(seed ^ 0xFFFFFFFF, data) ^ 0xFFFFFFFF
            self.assertEqual(crc32c.crc32c(data, seed), table, size)
            half = size // 2
            self.assertEqual(crc32c.crc32c(data[half:], crc32c.crc32c(data[:half], seed)), table)

    def test_lz4_block(self) -> None:
        # "abc" literally, then 12 bytes from 3 before, then "xyzzy" literally.
        block = bytes([0x38]) + b"abc" + b"\x03\x00" + bytes([0x50]) + b"xyzzy"
        self.assertEqual(lz4_block(block, 20), b"abc" * 5 + b"xyzzy")
        for size in range(len(block)):
            with self.assertRaises(ValueError):
                lz4_block(block[:size], 20)
        with self.assertRaises(ValueError):
            lz4_block(bytes([0x38]) + b"abc" + b"\x04\x00" + bytes([0x50]) + b"xyzzy", 20)


class Descriptors(unittest.TestCase):
    """What a set says of itself, made by hand."""

    @staticmethod
    def message(**numbers: int) -> bytes:
        fields = {"position": 2, "kind": 5, "start_s": 24, "finish_s": 25, "start_us": 51,
                  "finish_us": 52, "is_read_only": 53}
        made = bytes([1 << 3 | 2, 16]) + bytes(range(16))
        for name, value in {"position": 1, "kind": 1, **numbers}.items():
            for number in (fields[name] << 3, value):
                while number > 0x7F:
                    made += bytes([number & 0x7F | 0x80])
                    number >>= 7
                made += bytes([number])
        return made

    def test_times_of_a_set_to_the_microsecond(self) -> None:
        found = parse(self.message(start_s=7, start_us=7_000_009, finish_s=9))
        self.assertEqual((found.start_unix_us, found.finish_unix_us), (7_000_009, 0))
        for numbers in ({"start_s": 7, "start_us": 8_000_000}, {"start_s": 7, "start_us": 1},
                        {"finish_s": 9, "finish_us": 8_999_999}):
            with self.assertRaises(ValueError):
                parse(self.message(**numbers))

    def test_what_an_older_set_does_not_say(self) -> None:
        self.assertEqual([parse(self.message(**numbers)).is_read_only for numbers in
                          ({}, {"is_read_only": 0}, {"is_read_only": 1})], [None, 0, 1])


class WriterMedia(MediaTestCase):
    """Media that write_media makes."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="capstan-mtfdump-")
        self.addCleanup(directory.cleanup)
        self.media = Path(directory.name)
        subprocess.run([Programs.path("write_media"), self.media], check=True, timeout=120)

    def spanned(self) -> list[Path]:
        return [self.media / f"spanned-{number}.bak" for number in (1, 2, 3)]


class Writers(WriterMedia):
    def test_facts_of_a_medium(self) -> None:
        path = self.media / "small.bak"
        facts = self.facts(path, "--frames")
        medium, = facts["media"]
        self.assertEqual((medium["name"], medium["description"]),
                         ("Nightly", "Bänder im Schrank"))
        self.assertEqual((medium["media_family_id"], medium["family"], medium["families"]),
                         ("209EB181", 1, 1))
        self.assertEqual(medium["filemarks"][0], 4096)
        self.assertEqual(medium["bytes"], path.stat().st_size)
        found, = facts["sets"]
        self.assertEqual([found[name] for name in ("name", "kind", "database_name", "position")],
                         ["sales full", "DATABASE", "sales", 1])
        self.assertEqual([frame["name"] for frame in found["frames"]],
                         ["sales.db.000000000000", "sales.db.000000000120",
                          "sales.db-wal.000000000000"])
        self.assertEqual([frame["offset"] for frame in found["frames"]], [12288, 77824, 143360])

    def test_prints_for_a_person(self) -> None:
        status, out, err = run(self.media / "small.bak", "--frames")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("description: before the upgrade", out)
        self.assertRegex(out, r"(?m)^  2026-08-01 18:00:01 to [-:0-9 ]+$")
        self.assertLessEqual(max(len(line) for line in out.splitlines()
                                 if str(self.media) not in line), 80)

    def test_a_family_on_several_media(self) -> None:
        facts = self.facts(*reversed(self.spanned()))
        self.assertEqual([medium["sequence"] for medium in facts["media"]], [3, 2, 1])
        found, = facts["sets"]
        self.assertEqual((found["frame_count"], found["missing"]), (6, []))
        target = self.media / "out"
        self.facts(*self.spanned(), "--extract", target)
        self.assertEqual((target / "1" / "sales.db").stat().st_size, 6 * 4096)

    def test_says_which_media_are_not_given(self) -> None:
        first, second, third = self.spanned()
        for given, missing in (([second, third], "media before number 2"),
                               ([first, third], "media 2 to 2"),
                               ([first, second], "media behind number 2")):
            found, = self.facts(*given)["sets"]
            self.assertEqual(found["missing"], [f"family 1: {missing}"])
            status, _, err = run(*given, "--extract", self.media / "out")
            self.assertEqual(status, 1)
            self.assertIn(missing, err)

    def test_extraction_writes_over_nothing(self) -> None:
        path, target = self.media / "small.bak", self.media / "out"
        self.facts(path, "--extract", target)
        wal = target / "1" / "sales.db-wal"
        self.assertEqual(wal.stat().st_size, 4151)
        (target / "1" / "sales.db").unlink()
        wal.write_bytes(b"mine")
        self.assertEqual(run(path, "--extract", target)[0], 1)
        self.assertEqual([(file.name, file.read_bytes()) for file in target.glob("1/*")],
                         [("sales.db-wal", b"mine")])

    def test_media_that_do_not_follow_each_other(self) -> None:
        other = self.media / "cut0-2.bak"
        status, _, err = run(self.media / "spanned-1.bak", other)
        self.assertEqual(status, 1)
        self.assertIn("does not continue", err)

    def test_an_end_that_did_not_fit_counts_for_nothing(self) -> None:
        for limit in (0, 4096, 8192, 12288):
            media = [self.media / f"cut{limit}-{number}.bak" for number in (1, 2)]
            found, = self.facts(*media)["sets"]
            self.assertEqual((found["frame_count"], found["missing"]), (3, []), limit)

    def test_behind_sets_of_another_program(self) -> None:
        media = sorted(self.media.glob("foreign-*.bkf"))
        self.assertEqual(len(media), 12)
        for path in media:
            facts = self.facts(path)
            medium, = facts["media"]
            own = [part["own"] for part in medium["sets"]]
            self.assertEqual(own, [False] * (len(own) - 2) + [True, True], path.name)
            self.assertEqual([found["position"] for found in facts["sets"]],
                             [len(own) - 1, len(own)])
            self.assertEqual(medium["flb"], int(path.name.split("-")[1]))

    def test_backups_that_were_gone_on_with(self) -> None:
        for form in ("Plain", "Lz4", "Zstd", "Encrypted", "ZstdEncrypted"):
            facts = self.facts(self.media / f"resumed-{form}.bak", "--frames")
            found, = facts["sets"]
            self.assertEqual([(frame["sequence"], frame["length"], frame["void"])
                              for frame in found["frames"]],
                             [(0, 4096, False), (1, 0, True), (2, 4096, False),
                              (1 << 32, 2048, False), ((1 << 32) + 1, 2048, False)], form)
            self.assertEqual((found["frame_count"], found["backup_size_bytes"]), (5, 12288))
        _, out, _ = run(self.media / "resumed-Plain.bak", "--frames")
        self.assertRegex(out, r"(?m)^ +1 .* sales\.db\.v00000000008 void$")

    def test_void_frames_are_not_extracted(self) -> None:
        """Neither here nor by a reader that knows MTF alone."""
        path = self.media / "resumed-Plain.bak"
        self.facts(path, "--extract", self.media / "out")
        found = (self.media / "out" / "1" / "sales.db").read_bytes()
        self.assertEqual(found, b"".join(map(payload_of, ((0, 4096), (4096, 2048), (6144, 2048),
                                                          (8192, 4096)))))
        done = subprocess.run([sys.executable, "-B", str(ROOT / "tests/support/mtf_extract.py"),
                               path, "--output", str(self.media / "mtf")],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        names = sorted((self.media / "mtf").rglob("sales.db.*"))
        self.assertEqual([(name.suffix, name.stat().st_size) for name in names],
                         [(".000000000000", 4096), (".000000000008", 2048),
                          (".000000000012", 2048), (".000000000016", 4096),
                          (".v00000000008", 0)])
        self.assertEqual(b"".join(name.read_bytes() for name in names), found)
        verified = subprocess.run([sys.executable, "-B", str(ROOT / "tests/support/mtf_extract.py"),
                                   path, "--verify"], capture_output=True, text=True, timeout=60)
        self.assertEqual(verified.returncode, 0, verified.stderr)

    def test_set_maps_leave_out_the_oldest_sets_for_want_of_room(self) -> None:
        facts = self.facts(self.media / "long-map.bkf")
        self.assertEqual([part["own"] for part in facts["media"][0]["sets"]],
                         [False, False, False, True, True])
        status, _, err = run(self.media / "short-map.bak")
        self.assertEqual(status, 1)
        self.assertIn("TSMP: set 1 is left out, for which there is room", err)

    def test_what_stands_behind_the_last_set(self) -> None:
        small = (self.media / "small.bak").read_bytes()
        foreign = bytearray(small)
        foreign[8192 + 60] ^= 1
        path = self.media / "tail.bak"
        for tail, note in ((bytes(1), "zeros"), (bytes(100_000), "zeros"),
                           (b"S", "not written to its end"),
                           (small[8192:8192 + 61], "not written to its end"),
                           (small[8192:8192 + 90], "not written to its end"),
                           (small[8192:8192 + 9000], "not written to its end"),
                           (b"hello", "unknown bytes"), (bytes(foreign[8192:8192 + 62]), "unknown"),
                           (bytes(511) + b"x", "unknown bytes"), (b"Z" * 5000, "unknown bytes")):
            path.write_bytes(small + tail)
            status, out, err = run(path, "--json")
            self.assertEqual(status, 1)
            self.assertIn("tail.bak: byte", err)
            medium, = json.loads(out)["media"]
            self.assertIn(note, medium["notes"][-1], tail[:64])
            self.assertIn(f"from byte {len(small)} on", medium["notes"][-1])
            self.assertTrue(medium["sets"][0]["complete"])

    def test_wrong_usage(self) -> None:
        self.assertEqual(run()[0], 2)
        self.assertEqual(run(self.media / "absent.bak")[0], 2)
        self.assertEqual(run(self.media / "small.bak", "--nonsense")[0], 2)

    def test_what_is_no_medium(self) -> None:
        for name, content in (("empty", b""), ("text", b"hello " * 1000), ("short", b"TAPE")):
            path = self.media / name
            path.write_bytes(content)
            status, _, err = run(path)
            self.assertEqual(status, 1, name)
            self.assertIn("byte 0", err)

    def test_the_script_itself(self) -> None:
        script = [sys.executable, "-B", str(ROOT / "tools" / "mtfdump.py")]
        path = self.media / "small.bak"
        self.assertEqual(subprocess.run([*script, path], stdout=subprocess.DEVNULL,
                                        timeout=60).returncode, 0)
        with flipped(path, 30_000):
            done = subprocess.run([*script, path], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("small.bak: byte 12550: the payload of sales.db.000000000000", done.stderr)


class Flips(WriterMedia):
    """No byte of a medium is unprotected."""

    def offsets(self, size: int, begin: int = 0) -> list[int]:
        """Many near both ends, where structures stand, and some between."""
        if STRIDE:
            return list(range(begin, size, STRIDE))
        return [*range(begin, begin + 16_384, 89), *range(begin + 16_384, size - 20_480, 4099),
                *range(max(begin, size - 20_480), size, 101)]

    def test_of_a_medium(self) -> None:
        path = self.media / "small.bak"
        self.assert_every_flip_is_found([path], self.offsets(path.stat().st_size))

    def test_of_media_of_one_family(self) -> None:
        media = self.spanned()
        for path in media:
            rest = [other for other in media if other != path]
            self.assert_every_flip_is_found([*rest, path],
                                            self.offsets(path.stat().st_size)[::4])

    def test_of_backups_that_were_gone_on_with(self) -> None:
        """But for the payload of a void frame, which means nothing."""
        for form in ("Plain", "ZstdEncrypted"):
            path = self.media / f"resumed-{form}.bak"
            found, = self.facts(path, "--frames")["sets"]
            void = found["frames"][1]
            payload = range(void["offset"] + 262, void["offset"] + 262 + void["stored"])
            self.assert_every_flip_is_found(
                [path], [offset for offset in self.offsets(path.stat().st_size)[::2]
                         if offset not in payload])
            self.assert_every_flip_is_found([path], range(void["offset"], payload[0]))
            with flipped(path, payload[0] + 100):
                self.assertEqual(damages_of(path), [])

    def test_of_sets_behind_another_programs(self) -> None:
        for name in ("foreign-512-1-true", "foreign-1024-2-false"):
            path = self.media / f"{name}.bkf"
            own, _ = [part["offset"] for part in self.facts(path)["media"][0]["sets"]
                      if part["own"]]
            self.assert_every_flip_is_found([path],
                                            self.offsets(path.stat().st_size, own)[::4])

    def test_every_prefix_is_told_from_a_medium(self) -> None:
        path = self.media / "small.bak"
        whole = path.read_bytes()
        cut = self.media / "cut.bak"
        for size in range(0, len(whole), 4096 if not STRIDE else STRIDE):
            cut.write_bytes(whole[:size])
            # Behind the first filemark no set has begun: such a medium holds nothing, soundly.
            self.assertEqual(bool(damages_of(cut)), size != 8192, size)


class Product(ServerTestCase, MediaTestCase):
    """Backups of the real server."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.db / "source.db"
        with closing(sqlite3.connect(self.source)) as database:
            # Rows that become smaller, and noise that does not.
            database.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, body BLOB)")
            database.executemany("INSERT INTO item (body) VALUES (?)",
                                 ((f"row {n}: paid in full; " * 20,) for n in range(700)))
            database.execute("INSERT INTO item (body) VALUES (randomblob(200000))")
            database.commit()
        self.server.attach("source", self.source)

    def back_up(self, *names: str, options: str) -> list[Path]:
        paths = [self.server.media / name for name in names]
        self.assert_done(self.server.backup("source", *paths,
                                            options=f"{options}, MAXTRANSFERSIZE = 65536"))
        return paths

    def assert_extracts(self, paths: list[Path], *positions: int) -> None:
        target = self.server.root / f"out-{paths[0].name}"
        self.facts(*paths, "--extract", target)
        for position in positions:
            self.assertEqual((target / str(position) / "source.db").read_bytes(),
                             self.source.read_bytes(), paths)

    def assert_flips(self, paths: list[Path]) -> None:
        size = paths[-1].stat().st_size
        step = STRIDE or size // 40
        self.assert_every_flip_is_found(paths, range(7, size, step))

    def test_plain(self) -> None:
        paths = self.back_up("plain.bak", options="FORMAT, NAME = 'whole', COPY_ONLY")
        found, = self.facts(*paths)["sets"]
        self.assertEqual((found["name"], found["copy_only"], found["ratio"]), ("whole", 1, 1.0))
        self.assertEqual(found["files"][0]["size_bytes"], self.source.stat().st_size)
        for name in ("start_unix", "finish_unix"):
            self.assertEqual(found[f"{name}_us"] // 1_000_000, found[f"{name}_s"])
        moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
        self.assertRegex(run(*paths)[1], rf"(?m)^  {moment} to {moment}$")
        self.assert_extracts(paths, 1)
        self.assert_flips(paths)

    def test_of_a_read_only_database(self) -> None:
        """S2-21."""
        for mode, text in ((0o444, ", of a read-only database\n"), (0o644, "DATABASE source\n")):
            self.source.chmod(mode)
            paths = self.back_up(f"{mode:o}.bak", options="FORMAT")
            found, = self.facts(*paths)["sets"]
            self.assertEqual(found["is_read_only"], int(mode == 0o444))
            self.assertIn(text, run(*paths)[1])

    def test_striped(self) -> None:
        paths = self.back_up("stripe1.bak", "stripe2.bak", options="FORMAT")
        found, = self.facts(*paths)["sets"]
        self.assertEqual(found["missing"], [])
        self.assert_extracts(paths[::-1], 1)
        self.assert_flips(paths)
        alone, = self.facts(paths[1])["sets"]
        self.assertEqual(alone["missing"], ["families 1 of 2"])
        other = self.back_up("other1.bak", "other2.bak", options="FORMAT")
        self.assertEqual(len(self.facts(paths[0], other[1])["sets"]), 2)

    def test_appended(self) -> None:
        for options in ("FORMAT, NAME = 'one'", "NOINIT, NAME = 'two'", "NOINIT, NAME = 'three'"):
            paths = self.back_up("appended.bak", options=options)
        facts = self.facts(*paths)
        self.assertEqual([found["name"] for found in facts["sets"]], ["one", "two", "three"])
        self.assertEqual(len(facts["media"][0]["filemarks"]), 7)
        self.assert_extracts(paths, 1, 2, 3)
        self.assert_flips(paths)

    def test_compressed(self) -> None:
        for algorithm in ("ZSTD", "LZ4"):
            paths = self.back_up(f"{algorithm}.bak",
                                 options=f"FORMAT, COMPRESSION (ALGORITHM = {algorithm})")
            found, = self.facts(*paths, "--frames")["sets"]
            self.assertEqual(found["compression_algorithm"], algorithm)
            self.assertGreater(found["ratio"], 1.2)
            self.assertIn(24, [frame["stored"] - frame["length"] for frame in found["frames"]],
                          "no frame was stored as it was")
            self.assert_extracts(paths, 1)
            self.assert_flips(paths)
        with mock.patch("mtfdump.coding.which", return_value=None):
            target = self.server.root / "without"
            status, _, err = run(self.server.media / "ZSTD.bak", "--extract", target)
        self.assertEqual(status, 1)
        self.assertIn("the program zstd is not installed", err)
        self.assertEqual(list(target.glob("*/*")), [])

    def test_encrypted(self) -> None:
        self.assert_done(self.server.exec("CREATE CERTIFICATE key1 WITH SUBJECT = 'test'"))
        for compression in ("NO_COMPRESSION", "COMPRESSION"):
            paths = self.back_up(f"{compression}.bak", options=f"FORMAT, {compression}, ENCRYPTION "
                                 "(ALGORITHM = AES_256, SERVER CERTIFICATE = key1)")
            found, = self.facts(*paths)["sets"]
            self.assertEqual((found["key_algorithm"], found["encryptor_type"]),
                             ("aes_256", "CERTIFICATE"))
            self.assertEqual(len(found["encryptor_thumbprint"]), 40)
            self.assert_flips(paths)
            status, out, err = run(*paths, "--extract", self.server.root / "out")
            self.assertEqual(status, 1)
            self.assertIn("key", err)
            self.assertIn("checked without the key", out)


if __name__ == "__main__":
    harness_main()
