"""Tests of tests/support/mtf_extract.py on sound media: listed, verified, extracted, joined."""

from __future__ import annotations

import os
import struct
import unittest

from mtf_test_case import FIRST, SECOND, MtfTest, Result, family, one_file, two_sets
from mtf_builder import FLB, MediumBuilder, Stream, frame
from mtf import content, layout


class GoodMedium(MtfTest):
    def test_verifies(self) -> None:
        result = Result(self.write(two_sets().data), "--verify")

        self.assertEqual((result.status, result.err), (0, ""))
        self.assertIn("sound", result.out)

    def test_lists_every_block_and_stream(self) -> None:
        medium = two_sets()

        result = Result(self.write(medium.data), "--list")

        self.assertEqual(result.status, 0, result.err)
        lines = [line.split()[:2] for line in result.out.splitlines()]
        for block in medium.blocks:
            self.assertIn([str(block.offset), block.type], lines)
            for stream, offset in block.streams.items():
                self.assertIn([str(offset), stream], lines)
        self.assertIn("set_name='Set 2'", result.out)

    def test_extracts_one_set_into_directories(self) -> None:
        out = self.directory / "out"

        result = Result(self.write(two_sets().data), "--output", out, "--set", 2)

        self.assertEqual(result.status, 0, result.err)
        found = {path.relative_to(out).as_posix(): path.read_bytes()
                 for path in out.rglob("*") if path.is_file()}
        self.assertEqual(found, {"sales/sales.mdf.000000000000": FIRST,
                                 "sales/sales.mdf.000000075300": SECOND})

    def test_refuses_to_extract_one_name_twice(self) -> None:
        medium = two_sets()
        path = self.write(medium.data)

        for action in ("--output", "--concatenate"):
            result = Result(path, action, self.directory / action)
            self.assertEqual(result.status, 1)
            self.assertIn(f"FILE at byte {medium.place('FILE', 2).offset}: ", result.err)

    def test_only_selects_by_pattern(self) -> None:
        target = self.directory / "joined"

        result = Result(self.write(two_sets().data), "--concatenate", target, "--set", 1,
                        "--only", "sales/*075300")

        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(target.read_bytes(), SECOND)

    def test_boundaries_count_from_the_last_filemark(self) -> None:
        """With filemarks of half an FLB no block behind the first stands on a multiple of it."""
        medium = MediumBuilder(mark_size=512)
        medium.begin_set(1)
        medium.directory(1, "\0")
        medium.plain_file(1, 1, "f", FIRST)
        medium.end_set(1, directories=1, files=1)

        self.assertEqual(medium.place("FILE").offset % FLB, 512)
        self.assertEqual(Result(self.write(medium.data), "--verify").err, "")

    def test_sql_server_counts_bytes_in_its_own_mark_layout(self) -> None:
        medium = MediumBuilder(mark_size=512, sql_server=True)
        medium.begin_set(1)
        medium.end_set(1, directories=0, files=0)
        self.assertEqual(Result(self.write(medium.data), "--verify").err, "")

        mark = medium.place("SFMB", 2).offset
        struct.pack_into("<Q", medium.data, mark + 80, medium.place("SFMB", 0).offset + 512)
        self.expect_failure(medium.data, "SFMB", mark, "entry 1 is 1536")

    def test_filled_medium_ends_with_eotm(self) -> None:
        medium = two_sets()
        medium.end_of_medium(medium.place("ESET", 3).offset)
        self.assertEqual(Result(self.write(medium.data), "--verify").err, "")

    def test_full_mark_drops_the_oldest_entries(self) -> None:
        medium = MediumBuilder(mark_size=512, sql_server=True)
        for number in range(1, 30):
            medium.begin_set(number)
            medium.end_set(number, directories=0, files=0)
        self.assertGreater(len(medium.marks), 55)
        self.assertEqual(Result(self.write(medium.data), "--verify").err, "")

    def test_two_families_are_joined_in_the_order_of_names(self) -> None:
        one = self.write(family(1, {"db.0": b"zero" * 999, "db.3": b"three"}).data, "one.mtf")
        two = self.write(family(2, {"db.2": b"two" * 5000, "db.1": b"one" * 77}).data, "two.mtf")
        target = self.directory / "joined"

        result = Result(one, two, "--concatenate", target)

        self.assertEqual(result.status, 0, result.err)
        self.assertEqual(target.read_bytes(),
                         b"zero" * 999 + b"one" * 77 + b"two" * 5000 + b"three")
        self.assertEqual(Result(one, two, "--verify").status, 0)

    def test_unknown_blocks_and_streams_are_skipped(self) -> None:
        medium = MediumBuilder()
        medium.begin_set(1)
        medium.block("XYZW", b"", {}, [Stream("QQQQ", b"q" * 5000)])
        medium.directory(1, "\0")
        medium.file(1, 1, "f", [Stream("NACL", b"acl"), Stream("STAN", FIRST)], len(FIRST))
        medium.end_set(1, directories=1, files=1)
        path, target = self.write(medium.data), self.directory / "joined"

        self.assertEqual(Result(path, "--verify").err, "")
        self.assertEqual(Result(path, "--concatenate", target).err, "")
        self.assertEqual(target.read_bytes(), FIRST)


class Content(MtfTest):
    def expect_content(self, medium: MediumBuilder, expected: bytes) -> None:
        path, target = self.write(medium.data), self.directory / "joined"
        self.assertEqual(Result(path, "--verify").err, "")
        self.assertEqual(Result(path, "--concatenate", target).err, "")
        self.assertEqual(target.read_bytes(), expected)

    def test_segments_are_joined(self) -> None:
        self.expect_content(one_file([
            Stream("STAN", b"a" * 70001, format=2), Stream("STAN", b"b" * 333, format=2),
            Stream("STAN", b"", format=6)], 70334), b"a" * 70001 + b"b" * 333)

    def test_sparse_extents_leave_holes(self) -> None:
        extents = [Stream("SPAR", struct.pack("<Q", at) + data)
                   for at, data in ((5, b"five"), (5000, b"more"))]
        self.expect_content(one_file([Stream("STAN", b"", system=8), *extents], 6000),
                            bytes(5) + b"five" + bytes(4991) + b"more" + bytes(996))

    def test_raw_frames_are_unpacked(self) -> None:
        data = frame(b"x" * 3000, 3100, 1) + frame(b"y" * 100, 100, 2)
        self.expect_content(one_file([Stream("STAN", data, format=16, compression=0x8001)], 3100,
                                     compression=0x8001, attributes=4), b"x" * 3000 + b"y" * 100)

    def test_name_in_a_stream_is_used(self) -> None:
        name = "long" * 50
        medium = one_file([Stream("FNAM", name.encode("utf-16-le")), Stream("STAN", b"data")], 4,
                          type_attributes=1 << 17)

        result = Result(self.write(medium.data), "--output", self.directory / "out")

        self.assertEqual(result.status, 0, result.err)
        self.assertEqual((self.directory / "out" / name).read_bytes(), b"data")

    def test_compressed_frames_verify_but_need_a_codec(self) -> None:
        data = frame(b"x" * 3000, 3000, 1, stored=b"packed")
        medium = one_file([Stream("STAN", data, format=16, compression=0x8001)], 3000,
                          compression=0x8001, attributes=4)
        path = self.write(medium.data)

        self.assertEqual(Result(path, "--verify").err, "")
        result = Result(path, "--output", self.directory / "out")
        self.assertEqual(result.status, 1)
        self.assertIn("compressed with algorithm 0x8001", result.err)

    def test_rest_of_a_file_from_an_earlier_medium_verifies_but_is_not_extracted(self) -> None:
        """The data of a CONTINUE stream begins at the next FLB, not behind its header."""
        medium = MediumBuilder()
        medium.begin_set(1, attributes=1)
        medium.directory(5, "deep\0down\0", attributes=1)
        medium.file(9, 5, "rest", [Stream("STAN", FIRST, format=1)], 10 * len(FIRST), attributes=1)
        medium.plain_file(10, 5, "whole", SECOND)
        medium.end_set(1, directories=1, files=2, attributes=1)
        path, target = self.write(medium.data), self.directory / "joined"

        self.assertEqual(Result(path, "--verify").err, "")
        self.assertIn("its data began on an earlier medium",
                      Result(path, "--concatenate", target).err)
        self.assertEqual(Result(path, "--concatenate", target, "--only", "*/whole").err, "")
        self.assertEqual(target.read_bytes(), SECOND)

    def test_damaged_frame_is_reported(self) -> None:
        data = frame(b"x" * 3000, 3100, 1) + frame(b"y" * 100, 100, 3)
        medium = one_file([Stream("STAN", data, format=16, compression=0x8001)], 3100,
                          compression=0x8001, attributes=4)

        self.expect_failure(medium.data, "FILE", medium.place("FILE").offset,
                            "frame at +3024 of stream STAN")

    def test_names_that_leave_the_directory_are_refused(self) -> None:
        for name in ("..", "a/b"):
            medium = one_file([Stream("STAN", b"data")], 4, name=name)
            result = Result(self.write(medium.data), "--output", self.directory / "out")
            self.assertEqual(result.status, 1)
            self.assertIn(f"FILE at byte {medium.place('FILE').offset}: ", result.err)

    def test_checksum_of_section_3_4_is_the_xor_of_dwords_over_chunk_borders(self) -> None:
        data = os.urandom(3 * layout.CHUNK_SIZE // 2 + 3)
        segments = [Stream("STAN", data[:layout.CHUNK_SIZE + 1], format=2),
                    Stream("STAN", data[layout.CHUNK_SIZE + 1:], format=6)]
        expected = 0
        for (dword,) in struct.iter_unpack("<I", data + bytes(-len(data) % 4)):
            expected ^= dword
        with layout.Medium(self.write(one_file(segments, len(data)).data)) as medium:
            block = next(block for block in medium.blocks() if block.type == "FILE")
            run = content.Run(medium, content.chain_at(block, 0).segments)

            self.assertEqual(content.xor_dwords(run), expected)


class Arguments(MtfTest):
    def test_wrong_usage_ends_with_two(self) -> None:
        path = self.write(two_sets().data)
        for arguments in ((), (path,), ("--list",), (path, "--list", "--verify")):
            self.assertEqual(Result(*arguments).status, 2)

    def test_missing_medium_ends_with_one(self) -> None:
        result = Result(self.directory / "absent", "--list")
        self.assertEqual(result.status, 1)
        self.assertIn("absent", result.err)


if __name__ == "__main__":
    unittest.main()
