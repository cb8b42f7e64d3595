"""Tests of tests/support/mtf_extract.py on damaged media: the right block, byte and reason."""

from __future__ import annotations

import os
import random
import struct
import unittest
from collections.abc import Callable

from mtf_test_case import FIRST, MtfTest, Result, one_file, two_sets
from mtf_builder import FLB, MediumBuilder, Stream, frame, words_xor


class Damage(MtfTest):
    """Each test breaks one thing on a good medium and expects to be told which and where."""

    def setUp(self) -> None:
        super().setUp()
        self.medium = two_sets()
        self.data = self.medium.data

    def patch(self, offset: int, code: str, value: object) -> None:
        before = bytes(self.data[offset:offset + struct.calcsize(code)])
        struct.pack_into("<" + code, self.data, offset, value)
        self.assertNotEqual(before, self.data[offset:offset + len(before)], "the patch is idle")

    def seal(self, offset: int, words: int = 25) -> None:
        """Makes the checksum right again, so that only the damage behind it can be found."""
        end = offset + 2 * words
        struct.pack_into("<H", self.data, end, words_xor(self.data[offset:end]))

    def expect_block_damage(self, kind: str, index: int, at: int, code: str, value: object,
                            reason: str) -> None:
        with self.subTest(kind=kind, at=at):
            saved, offset = bytes(self.data), self.medium.place(kind, index).offset
            self.patch(offset + at, code, value)
            self.seal(offset)
            self.expect_failure(self.data, kind, offset, reason)
            self.data[:] = saved

    def test_block_checksum_of_every_type(self) -> None:
        for kind in {block.type for block in self.medium.blocks}:
            with self.subTest(kind=kind):
                offset = self.medium.place(kind).offset
                self.data[offset + 30] ^= 1
                self.expect_failure(self.data, kind, offset, "block checksum")
                self.data[offset + 30] ^= 1

    def test_block_type_that_is_none(self) -> None:
        offset = self.medium.place("DIRB").offset
        self.patch(offset, "4s", b"\0\1\2\3")
        self.expect_failure(self.data, "medium", offset, "no block begins here")

    def test_stream_header_checksum_of_every_stream(self) -> None:
        for block in self.medium.blocks:
            for stream, offset in block.streams.items():
                with self.subTest(block=block.type, stream=stream):
                    self.data[offset + 17] ^= 4
                    self.expect_failure(self.data, block.type, block.offset,
                                        f"stream header at byte {offset}: checksum")
                    self.data[offset + 17] ^= 4

    def test_stream_length(self) -> None:
        block = self.medium.place("FILE", 3)
        offset = block.streams["STAN"]
        self.patch(offset + 8, "Q", 1 << 40)
        self.seal(offset, 10)
        self.expect_failure(self.data, "FILE", block.offset, "run past the end of the medium")

    def test_every_single_bit_of_the_common_header(self) -> None:
        offset = self.medium.place("FILE").offset
        for bit in range(52 * 8):
            self.data[offset + bit // 8] ^= 1 << bit % 8
            result = Result(self.write(self.data), "--verify")
            self.assertEqual(result.status, 1, f"bit {bit}")
            self.assertIn(f"at byte {offset}: ", result.err)
            self.data[offset + bit // 8] ^= 1 << bit % 8

    def test_common_header(self) -> None:
        for kind, index, at, code, value, reason in (
                ("FILE", 0, 8, "H", 40, "offset to first event 40"),
                ("FILE", 0, 8, "H", 2000, "offset to first event 2000"),
                ("FILE", 0, 12, "Q", 75299, "displayable size 75299, but STAN has 75300"),
                ("SSET", 0, 12, "Q", 1, "displayable size 1"),
                ("DIRB", 1, 20, "Q", 77, "FLA 77, expected"),
                ("SSET", 1, 20, "Q", 8, "FLA 8 and control block id 0"),
                ("ESET", 0, 20, "Q", 3, "FLA 3, expected 0"),
                ("VOLB", 0, 36, "I", 0, "control block id 0, expected 1"),
                ("ESET", 1, 36, "I", 0, "control block id 0, expected"),
                ("DIRB", 0, 40, "I", 1, "reserved byte"),
                ("TAPE", 0, 36, "I", 1, "control block id 1"),
                ("DIRB", 0, 4, "I", 4, "COMPRESSION")):
            self.expect_block_damage(kind, index, at, code, value, reason)

    def test_fields_of_each_type(self) -> None:
        for kind, index, at, code, value, reason in (
                ("TAPE", 0, 93, "B", 2, "MTF major version 2"),
                ("TAPE", 0, 84, "H", 2048, "FLB size 2048"),
                ("TAPE", 0, 56, "I", 0, "no soft filemarks"),
                ("TAPE", 0, 60, "H", 0, "media sequence number 0"),
                ("SSET", 1, 62, "H", 3, "data set number 3, expected 2"),
                ("SSET", 0, 80, "Q", 9, "PBA 9"),
                ("SSET", 0, 89, "B", 0xFF, "date is no date"),
                ("DIRB", 1, 76, "I", 9, "directory id 9, expected 2"),
                ("FILE", 0, 76, "I", 9, "directory id 9 has no DIRB"),
                ("FILE", 1, 80, "I", 7, "file id 7, expected 2"),
                ("ESET", 0, 78, "H", 9, "data set number 9"),
                ("ESET", 0, 52, "I", 8, "attributes 8"),
                ("ESET", 0, 56, "I", 8, "8 corrupt files"),
                ("ESET", 1, 60, "Q", 1, "catalog pba 1"),
                ("ESET", 1, 68, "Q", 0, "set map pba 0"),
                ("ESET", 1, 76, "H", 7, "FDD media sequence number 7")):
            self.expect_block_damage(kind, index, at, code, value, reason)

    def test_strings(self) -> None:
        for kind, index, at, code, value, reason in (
                ("VOLB", 0, 56, "H", 3, "device is malformed"),
                ("VOLB", 0, 58, "H", 4000, "tape address at +56"),
                ("VOLB", 0, 48, "B", 0, "under string type 0"),
                ("VOLB", 0, 48, "B", 9, "string type 9"),
                ("SSET", 0, 98, "H", 0xDC00, "set_name is malformed"),
                ("SSET", 0, 100, "H", 0, "null character inside"),
                ("DIRB", 1, 80, "H", 10, "does not end in a null character"),
                ("FILE", 0, 88, "H", 0, "null character inside")):
            self.expect_block_damage(kind, index, at, code, value, reason)

    def test_filemarks(self) -> None:
        for at, code, value, reason in (
                (8, "H", 512, "soft filemark size is 4096"),
                (20, "Q", 5, "FLA 5"),
                (36, "I", 9, "control block id 9, expected 3"),
                (4, "I", 1 << 31, "SQL Server's mark layout"),
                (52, "I", 5000, "array of 5000 entries"),
                (56, "I", 1, "1 entries used of 1009, expected 2"),
                (60, "I", 1, "entry 0 is 1"),
                (64, "I", 2, "entry 1 is 2"),
                (68, "I", 1, "unused entry")):
            self.expect_block_damage("SFMB", 2, at, code, value, reason)

    def test_set_map(self) -> None:
        eset = self.medium.place("ESET")
        at = eset.streams["TSMP"] + 22
        for offset, code, value, reason in (
                (0, "I", 1, "family id"), (4, "H", 0, "it lists sets []"),
                (4, "H", 7, "ends inside an entry"), (8, "H", 20, "impossible length of 20"),
                (8 + 12, "Q", 3, "PBA 3"), (8 + 20, "Q", 1, "FDD PBA 1"),
                (8 + 30, "H", 6, "it lists sets [6]"), (8 + 40, "I", 9, "directories 9"),
                (8 + 44, "I", 9, "files 9"), (8 + 85, "b", 9, "time zone 9"),
                (8 + 92, "H", 0x41, "set name 'Aet 1'")):
            with self.subTest(offset=offset):
                saved = bytes(self.data)
                self.patch(at + offset, code, value)
                self.expect_failure(self.data, "ESET", eset.offset, reason)
                self.data[:] = saved

    def test_file_catalog(self) -> None:
        eset = self.medium.place("ESET")
        at = eset.streams["TFDD"] + 22
        for offset, code, value, reason in ((0, "H", 5, "impossible length of 5"),
                                            (2, "4s", b"WHAT", "unknown or behind FEND"),
                                            (2, "4s", b"FILE", "it lists")):
            with self.subTest(value=value):
                saved = bytes(self.data)
                self.patch(at + offset, code, value)
                self.expect_failure(self.data, "ESET", eset.offset, reason)
                self.data[:] = saved

    def test_data_that_its_checksum_does_not_fit(self) -> None:
        block = self.medium.place("FILE")
        self.data[block.streams["STAN"] + 22 + 40000] ^= 1
        self.expect_failure(self.data, "FILE", block.offset, "CSUM")

    def test_spad_that_ends_off_a_boundary(self) -> None:
        block = self.medium.place("ESET", 3)
        offset = block.streams["SPAD"]
        (length,) = struct.unpack_from("<Q", self.data, offset + 8)
        self.patch(offset + 8, "Q", length - 4)
        self.seal(offset, 10)
        self.expect_failure(self.data, "ESET", block.offset, "off the FLB boundaries")

    def test_random_damage_never_escapes_as_an_exception(self) -> None:
        seed = int(os.environ.get("CAPSTAN_TEST_SEED", "1"))
        dice = random.Random(seed)
        headers = [offset for block in self.medium.blocks
                   for offset in (block.offset, *block.streams.values())]
        for _ in range(500):
            offset = dice.choice(headers)
            saved = bytes(self.data[offset:offset + 300])
            for _ in range(dice.randrange(1, 4)):
                self.data[offset + dice.randrange(len(saved))] = dice.randrange(256)
            if dice.randrange(2):
                self.seal(offset, dice.choice((10, 25)))
            path = self.write(self.data)
            for action in ("--verify", "--list"):
                self.assertIn(Result(path, action).status, (0, 1), f"seed {seed}")
            self.data[offset:offset + len(saved)] = saved

    def test_padding_that_is_not_zero(self) -> None:
        block = self.medium.place("DIRB")
        self.data[block.streams["SPAD"] + 100] = 1
        self.expect_failure(self.data, "DIRB", block.offset,
                            f"SPAD is not zero at byte {block.streams['SPAD'] + 100}")

    def test_every_truncation_at_a_structure(self) -> None:
        cuts = {0, 30, 51, 52, 90}
        for block in self.medium.blocks:
            cuts |= {block.offset, block.offset + 20, block.offset + 60}
            cuts |= {offset + 5 for offset in block.streams.values()}
        for cut in sorted(cuts):
            with self.subTest(cut=cut):
                result = Result(self.write(self.data[:cut]), "--verify")
                sound = cut == self.medium.place("SSET", 0).offset or \
                    cut == self.medium.place("SSET", 1).offset
                self.assertEqual(result.status, 0 if sound else 1, result.out)
                self.assertEqual(result.err.count("\n"), 0 if sound else 1, result.err)

    def test_truncation_names_the_block_that_is_cut(self) -> None:
        block = self.medium.place("FILE", 2)
        self.expect_failure(self.data[:block.offset + 1500], "FILE", block.offset,
                            "run past the end of the medium")

    def test_set_without_end(self) -> None:
        end = self.medium.place("ESET", 2).offset
        self.expect_failure(self.data[:end], "SSET", self.medium.place("SSET", 1).offset,
                            "the set has no end")

    def test_garbage_behind_the_last_filemark(self) -> None:
        end = len(self.data)
        self.expect_failure(self.data + bytes(10), "medium", end, "into a block header")
        self.expect_failure(self.data + bytes(FLB), "medium", end, "no block begins here")


class Structure(MtfTest):
    """Media that are wrong as a whole, each built wrong on purpose."""

    def expect(self, kind: str, index: int, reason: str,
               build: Callable[[MediumBuilder], None]) -> None:
        medium = MediumBuilder()
        build(medium)
        self.expect_failure(medium.data, kind, medium.place(kind, index).offset, reason)

    def test_file_before_its_directory(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.plain_file(1, 1, "f", b"data")
        self.expect("FILE", 0, "directory id 1 has no DIRB before it", build)

    def test_directory_before_its_parent(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.directory(1, "a\0")
        self.expect("DIRB", 0, "'a' stands before its parent", build)

    def test_directory_before_any_volume(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            volume = medium.place("VOLB")
            del medium.data[volume.offset:]
            medium.control_id -= 1
            medium.directory(1, "\0")
        self.expect("DIRB", 0, "no VOLB stands before it", build)

    def test_directory_that_stands_twice(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.directory(1, "\0")
            medium.directory(2, "\0")
        self.expect("DIRB", 1, "a second time", build)

    def test_name_stream_that_is_not_the_first(self) -> None:
        medium = one_file([Stream("STAN", b"data"), Stream("FNAM", b"n\0")], 4)
        self.expect_failure(medium.data, "FILE", medium.place("FILE").offset, "is not the first")

    def test_corrupt_object_without_its_file(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.block("CFIL", bytes(24), {}, [])
        self.expect("CFIL", 0, "it does not follow a FILE", build)

    def test_end_of_medium_without_a_set_or_a_filemark_behind(self) -> None:
        medium = MediumBuilder()
        medium.end_of_medium(0)
        at = medium.place("EOTM").offset
        self.expect_failure(medium.data, "EOTM", at, "no ESET stands before it")

        medium = two_sets()
        medium.end_of_medium(medium.place("ESET", 3).offset)
        end, at = medium.place("SFMB", 6).offset, medium.place("EOTM").offset
        self.expect_failure(medium.data[:end], "EOTM", at, "does not end in a filemark")

    def test_set_that_begins_inside_another(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.begin_set(2)
        self.expect("SSET", 1, "may not stand here (body)", build)

    def test_second_eset_missing(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.end_set(1, directories=0, files=0, second_eset=False)
        self.expect("ESET", 0, "no second ESET follows", build)

    def test_end_of_medium_that_points_elsewhere(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.end_set(1, directories=0, files=0)
            medium.end_of_medium(medium.place("ESET", 0).offset)
        self.expect("EOTM", 0, "ESET PBA", build)

    def test_catalog_stream_off_a_physical_block(self) -> None:
        def build(medium: MediumBuilder) -> None:
            medium.begin_set(1)
            medium.block("XYZW", b"", {}, [Stream("TSMP", b"")])
        self.expect("XYZW", 0, "is not on a physical block boundary", build)

    def test_streams_that_do_not_end_in_spad(self) -> None:
        medium = MediumBuilder()
        medium.begin_set(1)
        block = medium.block("XYZW", b"", {}, [Stream("QQQQ", bytes(FLB - 52 - 22))])
        del medium.data[block.offset + FLB:]
        medium.directory(1, "\0")
        self.expect_failure(medium.data, "XYZW", block.offset, "no SPAD")

    def test_stream_headers_flush_behind_data_are_read_but_not_sound(self) -> None:
        medium = MediumBuilder()
        medium.begin_set(1)
        medium.directory(1, "\0")
        medium.is_flush = True
        block = medium.file(1, 1, "f", [Stream("NACL", b"acl"), Stream("STAN", FIRST)], len(FIRST))
        medium.is_flush = False
        medium.end_set(1, directories=1, files=1)

        result = Result(self.write(medium.data), "--output", self.directory / "out")

        self.assertEqual(result.status, 0, result.err)
        self.assertEqual((self.directory / "out" / "f").read_bytes(), FIRST)
        self.expect_failure(medium.data, "FILE", block.offset, "is not on a 4-byte boundary")

    def test_sequence_of_segments_without_end(self) -> None:
        medium = one_file([Stream("STAN", b"data", format=2)], 4)
        self.expect_failure(medium.data, "FILE", medium.place("FILE").offset,
                            "its segments have no end")

    def test_checksum_that_is_announced_but_absent(self) -> None:
        medium = one_file([Stream("STAN", b"data", format=32)], 4)
        self.expect_failure(medium.data, "FILE", medium.place("FILE").offset,
                            "is not followed by its CSUM")

    def test_compressed_stream_in_a_set_that_declares_none(self) -> None:
        medium = one_file([Stream("STAN", frame(b"x", 1, 1), format=16, compression=5)], 1)
        self.expect_failure(medium.data, "FILE", medium.place("FILE").offset,
                            "is compressed with 0x0005, the set declares 0x0000")

    def test_media_that_are_none(self) -> None:
        for data, reason in ((b"", "is empty"), (b"MSSQLBAK" + bytes(2000), "compressed SQL"),
                             (bytes(4096), "no block begins here")):
            self.expect_failure(data, "medium", 0, reason)


if __name__ == "__main__":
    unittest.main()
