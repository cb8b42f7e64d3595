"""Tape-like devices: filemarks, early warning, several cartridges (VDI specification, "End of Media
Processing")."""

from __future__ import annotations

import re
import shutil

from vendor import Ended, VendorTestCase, content_of, main

LOAD, WRITE_MARK, SKIP_MARKS = 8, 5, 6
END_OF_MEDIA, FILEMARK, OVERFLOW = 1100, 1101, 1129
SMALL = "MAXTRANSFERSIZE = 65536"
CAPACITY = 2 << 20
WARNING = 512 << 10


def counted(ended: Ended, what: str) -> dict[int, int]:
    """What the client printed of commands or of completion codes: how often each came."""
    return {int(number): int(count)
            for number, count in re.findall(rf"^{what} (\d+): (\d+)$", ended.text, re.MULTILINE)}


class Tape(VendorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = self.add_wal(6 << 20)
        self.tapes = self.server.media / "tapes"
        self.tapes.mkdir()

    def run_tape(self, way: str, *arguments: object) -> Ended:
        return self.run_client("tape_client", f"--{way}", "source", "--tapes", self.tapes,
                               *arguments)

    def round_trip(self, *arguments: object) -> tuple[Ended, Ended]:
        ended: list[Ended] = []

        def go(way: str) -> Ended:
            ended.append(self.assert_transferred(self.run_tape(way, *arguments), way.upper()))
            return ended[-1]
        self.assert_round_trip(self.source, lambda: go("backup"), lambda: go("restore"))
        return ended[0], ended[1]

    def loaded(self, ended: Ended) -> list[int]:
        return list(map(int, re.findall(r"^Loaded cartridge (\d+)$", ended.text, re.MULTILINE)))

    def several_cartridges(self, *arguments: object) -> tuple[Ended, Ended]:
        return self.round_trip("--capacity", CAPACITY, "--early-warning", WARNING, "--with", SMALL,
                               *arguments)

    def test_one_cartridge(self) -> None:
        back, forth = self.round_trip()
        self.assertGreater(counted(back, "Command")[WRITE_MARK], 0)
        self.assertGreater(counted(forth, "Completion code")[FILEMARK], 0)
        self.assertEqual((self.loaded(back), self.loaded(forth)), ([1], [1]))

    def test_several_cartridges(self) -> None:
        """Each is written to its early warning, and never beyond its end."""
        back, forth = self.several_cartridges()
        self.assertGreaterEqual(len(self.loaded(back)), 4)
        self.assertEqual(self.loaded(back), list(range(1, len(self.loaded(back)) + 1)))
        self.assertEqual(self.loaded(forth), self.loaded(back))
        codes = counted(back, "Completion code")
        self.assertGreater(codes[END_OF_MEDIA], 0)
        self.assertNotIn(OVERFLOW, codes)
        sizes = [path.stat().st_size for path in self.tapes.iterdir()]
        self.assertLessEqual(max(sizes), CAPACITY)
        self.assertGreater(sorted(sizes)[1], CAPACITY - WARNING, "cartridges are used to the end")

    def test_warning_that_was_not_announced(self) -> None:
        """EOMWarningSize 0: the client takes what comes, as long as it fits."""
        back, _ = self.several_cartridges("--announce", "no")
        self.assertGreaterEqual(len(self.loaded(back)), 4)

    def test_soft_filemarks(self) -> None:
        back, _ = self.several_cartridges("--soft-filemarks", 4096)
        self.assertGreater(counted(back, "Command")[WRITE_MARK], 0)

    def test_used_cartridges_are_written_over(self) -> None:
        self.assert_transferred(self.run_tape("backup"), "BACKUP")
        old = (self.tapes / "1.tape").stat().st_size
        back, _ = self.round_trip("--capacity", CAPACITY, "--early-warning", WARNING, "--with",
                                  SMALL)
        self.assertGreaterEqual(len(self.loaded(back)), 4)
        self.assertLess((self.tapes / "1.tape").stat().st_size, old)

    def test_no_warning_before_the_end(self) -> None:
        """1129: what does not fit is lost, and the backup with it."""
        ended = self.run_tape("backup", "--capacity", CAPACITY, "--with", SMALL)
        self.assertIn(OVERFLOW, counted(ended, "Completion code"))
        self.assert_failed(ended, 3202)
        self.assertIn("1129(", ended.text)
        self.assert_nothing_new()

    def assert_restore_fails(self) -> Ended:
        before = content_of(self.source)
        ended = self.run_tape("restore", "--with", SMALL)
        self.assertEqual(ended.exit_code, 1)
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
        self.assertGreater(len(ended.numbers), 1, ended.describe())
        self.assertEqual(content_of(self.source), before)
        return ended

    def back_up_on_several(self) -> None:
        self.assert_transferred(
            self.run_tape("backup", "--capacity", CAPACITY, "--early-warning", WARNING, "--with",
                          SMALL), "BACKUP")

    def test_missing_cartridge(self) -> None:
        self.back_up_on_several()
        (self.tapes / "3.tape").unlink()
        self.assertIn("1112(", self.assert_restore_fails().text)

    def test_wrong_cartridge(self) -> None:
        self.back_up_on_several()
        shutil.copyfile(self.tapes / "3.tape", self.tapes / "2.tape")
        self.assert_restore_fails()

    def test_cartridge_of_another_backup(self) -> None:
        self.back_up_on_several()
        kept = (self.tapes / "2.tape").read_bytes()
        self.back_up_on_several()
        (self.tapes / "2.tape").write_bytes(kept)
        self.assert_restore_fails()


if __name__ == "__main__":
    main()
