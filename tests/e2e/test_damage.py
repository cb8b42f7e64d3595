"""Media that were damaged after they were made: found, named, and nothing restored from them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Outcome, ServerTestCase, disks, main, quoted
from mtf.layout import Medium

# What damage is reported as: 3241 and 3242 of a medium's structure, 65004 of a frame, 3189 of a
# whole that does not fit its parts, 3208 and 3256 of what was cut off, 3254 of nothing.
DAMAGE = {3241, 3242, 3189, 65004, 3208, 3256, 3254, 3243, 3258, 3232, 3227, 3231}


@dataclass(frozen=True)
class Place:
    """A byte of a medium that a test damages, and where the report may point to."""

    what: str
    offset: int
    begin: int
    end: int


def places(path: Path) -> Iterator[Place]:
    """One byte or more in every kind of block, stream and payload."""
    with Medium(path) as medium:
        marks = frames = 0
        blocks = list(medium.blocks())
        for block, following in zip(blocks, [*blocks[1:], blocks[-1]]):
            name = block.type
            if name == "SFMB":
                marks += 1
                name = f"SFMB {marks}"
            elif name == "FILE":
                frames += 1
                if frames not in (1, 3):
                    continue
                name = f"FILE {frames}"
            begin, end = block.offset, block.end
            yield Place(f"{name} type", begin + 1, begin, end)
            yield Place(f"{name} header", begin + 40, begin, end)
            if not name.startswith("SFMB"):
                # Strings are covered by the next seal, which may be the following block's.
                yield Place(f"{name} last byte of the block", begin + block.event_offset - 1,
                            begin, following.end)
            else:
                yield Place(f"{name} padding", end - 1, begin, end)
            for stream in block.streams:
                yield Place(f"{name} {stream.id} header", stream.offset + 9, begin, end)
                if stream.length:
                    yield Place(f"{name} {stream.id} data",
                                stream.data + stream.length // 2, begin, end)


@contextmanager
def flipped(path: Path, offset: int) -> Iterator[None]:
    """One bit of a file is wrong for a while."""
    def flip() -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0x10]))
    flip()
    try:
        yield
    finally:
        flip()


class DamageTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=600_000)
        self.media = [self.server.media / "1.bak", self.server.media / "2.bak"]
        self.assert_done(self.server.backup("source", *self.media,
                                            options="MAXTRANSFERSIZE = 65536"))
        self.copy = self.server.db / "copy.db"

    def restore_copy(self) -> Outcome:
        return self.server.restore("copy", *self.media,
                                   options=f"MOVE 'source' TO {quoted(self.copy)}")

    def check_report(self, outcome: Outcome, path: Path) -> str:
        """Damage, named with its medium; returns text and hint."""
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        first, last = outcome.messages
        self.assertIn(first.number, DAMAGE, outcome.describe())
        self.assertEqual(last.number, 3013)
        report = f"{first.text}\n{first.hint}"
        self.assertIn(str(path), report)
        return report

    def check_nothing_restored(self) -> None:
        self.assertFalse(self.copy.exists())
        self.server.check_no_leftovers(self)


class FlippedBits(DamageTestCase):
    """S0-25, S0-32: one bit, anywhere."""

    def check_family(self, path: Path) -> None:
        for place in places(path):
            with self.subTest(place=place.what), flipped(path, place.offset):
                for outcome in (self.server.verify(*self.media), self.restore_copy()):
                    report = self.check_report(outcome, path)
                    if place.what == "TAPE type":
                        self.assertIn("not a valid Microsoft Tape Format", report)
                        continue
                    named = [int(n) for n in re.findall(r"at byte (\d+)", report)]
                    self.assertTrue(any(place.begin <= n <= place.end for n in named),
                                    f"byte {place.offset} of {place}: {report}")
                self.check_nothing_restored()
        self.assert_done(self.server.verify(*self.media))
        self.assert_works()

    def test_first_family(self) -> None:
        self.check_family(self.media[0])

    def test_second_family(self) -> None:
        self.check_family(self.media[1])


class CutOff(DamageTestCase):
    """S0-12: a medium that is shorter than it was is never good."""

    def test_truncated_family(self) -> None:
        path = self.media[1]
        whole = path.read_bytes()
        for size in (1, 512, 4095, 4096, 8192, 20_000, len(whole) // 2, len(whole) - 70_000,
                     len(whole) - 8192, len(whole) - 4096, len(whole) - 1):
            with self.subTest(size=size):
                path.write_bytes(whole[:size])
                for outcome in (self.server.verify(*self.media), self.restore_copy()):
                    self.check_report(outcome, path)
                self.check_nothing_restored()
        path.write_bytes(whole)
        self.assert_done(self.server.verify(*self.media))
        self.assert_works()

    def test_incomplete_set_is_listed_as_such(self) -> None:
        """HEADERONLY of a family without its end says so, instead of calling it good."""
        path = self.media[0]
        path.write_bytes(path.read_bytes()[:-200_000])
        outcome = self.server.run("exec", "--json",
                                  f"RESTORE HEADERONLY FROM DISK = {quoted(path)}")
        if outcome.exit_code == 0:
            self.assertRegex(outcome.stdout, r'"BackupName": "\*\*\* INCOMPLETE \*\*\*"|"Flags": 5\d\d')
            (header,) = self.server.query(f"RESTORE HEADERONLY FROM DISK = {quoted(path)}")
            self.assertTrue(int(str(header["Flags"])) & 32, header)
        else:
            self.check_report(outcome, path)

    def test_swapped_and_lost_frames(self) -> None:
        """Whole frames that are sound in themselves, in the wrong place or gone."""
        path = self.media[0]
        whole = path.read_bytes()
        with Medium(path) as medium:
            frames = [(b.offset, b.end) for b in medium.blocks() if b.type == "FILE"]
        (a, a_end), (b, b_end) = frames[0], frames[1]
        swapped = bytearray(whole)
        swapped[a:a_end], swapped[b:b_end] = whole[b:b_end], whole[a:a_end]
        lost = whole[:a] + whole[a_end:]
        for what, content in (("swapped", bytes(swapped)), ("lost", lost)):
            with self.subTest(what=what):
                path.write_bytes(content)
                for outcome in (self.server.verify(*self.media), self.restore_copy()):
                    self.check_report(outcome, path)
                self.check_nothing_restored()
        path.write_bytes(whole)
        self.assert_works()

    def test_old_family_beside_a_new_one(self) -> None:
        """One stripe overwritten by a later backup of the same name."""
        old = self.media[1].read_bytes()
        self.assert_done(self.server.backup("source", *self.media,
                                            options="FORMAT, MAXTRANSFERSIZE = 65536"))
        self.media[1].write_bytes(old)
        self.check_report(self.server.verify(*self.media), self.media[1])
        self.check_report(self.restore_copy(), self.media[1])
        self.check_nothing_restored()
        self.assert_works()


class GoingOn(ServerTestCase):
    """S0-25, S0-29 to S0-31: what goes on in spite of damage says what it costs."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=600_000)
        self.copy = self.server.db / "copy.db"
        self.medium = self.server.media / "1.bak"
        self.mirror = self.server.media / "2.bak"

    def backup(self, options: str = "") -> None:
        self.assert_done(self.server.exec(
            f"BACKUP DATABASE source TO {disks(self.medium)} MIRROR TO {disks(self.mirror)} "
            f"WITH FORMAT, MAXTRANSFERSIZE = 65536{options}"))

    def restore_copy(self, options: str) -> Outcome:
        return self.server.restore("copy", self.medium,
                                   options=f"MOVE 'source' TO {quoted(self.copy)}{options}")

    def verify(self, options: str) -> Outcome:
        return self.server.exec(f"RESTORE VERIFYONLY FROM {disks(self.medium)} WITH {options}")

    def check_lost(self, outcome: Outcome) -> tuple[int, int]:
        """The one stretch that is said to be lost: first byte and length."""
        said = re.findall(r"Lost on device '([^']+)': (\d+) bytes of file '([^']+)' from byte "
                          r"(\d+), pages (\d+) to (\d+)", outcome.stdout + outcome.stderr)
        self.assertEqual(len(said), 1, outcome.describe())
        device, length, file, first, *pages = said[0]
        self.assertEqual((device, file), (str(self.medium), str(self.source)))
        self.assertEqual([int(page) for page in pages],
                         [int(first) // 4096 + 1, (int(first) + int(length) - 1) // 4096 + 1])
        return int(first), int(length)

    def check_names_the_mirror(self, outcome: Outcome) -> None:
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertEqual([m.number for m in outcome.messages], [3189, 3013], outcome.describe())
        self.assertIn(f"other copies of its families: '{self.mirror}'", outcome.messages[0].hint)

    def check_damaged_medium(self) -> None:
        with Medium(self.medium) as medium:
            frame = [block for block in medium.blocks() if block.type == "FILE"][2]
        with flipped(self.medium, frame.offset + 2600):
            outcome = self.verify("CONTINUE_AFTER_ERROR")
            self.check_names_the_mirror(outcome)
            first, length = self.check_lost(outcome)

            outcome = self.verify("SAMPLE = 99.9 PERCENT")
            self.check_names_the_mirror(outcome)
            self.assertEqual(self.check_lost(outcome), (first, length))

            self.assertEqual(self.restore_copy("").exit_code, 1)
            self.assertFalse(self.copy.exists())
            outcome = self.assert_done(self.restore_copy(", CONTINUE_AFTER_ERROR"))
            self.assertEqual(self.check_lost(outcome), (first, length))
            self.assertIn("some damage was encountered", outcome.stdout + outcome.stderr)
            restored = self.copy.read_bytes()
            self.assertEqual(restored[first:first + length], bytes(length))
        self.assert_done(self.verify("SAMPLE = 99.9 PERCENT"))
        self.assert_done(self.restore_copy(", REPLACE"))
        whole = self.copy.read_bytes()
        self.assertEqual(whole[:first] + bytes(length) + whole[first + length:], restored)

    def test_plain_medium(self) -> None:
        self.backup()
        self.check_damaged_medium()

    def test_compressed_and_encrypted_medium(self) -> None:
        self.assert_done(self.server.exec("CREATE CERTIFICATE c WITH SUBJECT = 'damage'"))
        self.backup(", COMPRESSION, ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = c)")
        self.check_damaged_medium()

    def test_damaged_database(self) -> None:
        """BACKUP WITH CONTINUE_AFTER_ERROR marks what it makes of a database with a bad page."""
        with closing(sqlite3.connect(self.source)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = self.source.read_bytes()
        page = max(n for n in range(1, len(pages) // 4096) if pages[n * 4096] == 0x0D)
        with open(self.source, "r+b") as file:
            file.seek(page * 4096)
            file.write(b"\x07")
        to = f"BACKUP DATABASE source TO {disks(self.medium)} WITH FORMAT, CHECKSUM"
        self.assert_error(self.server.exec(to), 3043, f"page (1:{page + 1})", str(self.source))
        self.assertFalse(self.medium.exists())

        outcome = self.assert_done(self.server.exec(f"{to}, CONTINUE_AFTER_ERROR"))
        self.assertIn("successfully generated a backup of the damaged database",
                      outcome.stdout + outcome.stderr)
        (header,) = self.server.query(f"RESTORE HEADERONLY FROM {disks(self.medium)}")
        self.assertIn(str(header["IsDamaged"]).lower(), ("1", "true"))
        self.assertTrue(int(str(header["Flags"])) & 32, header)
        self.assert_done(self.verify("FILE = 1"))
        bad = f"page (1:{page + 1}) in database \"source\""
        self.assert_error(self.verify("CHECKSUM"), 3183, bad, terminated="VERIFY DATABASE")
        outcome = self.verify("CHECKSUM, CONTINUE_AFTER_ERROR")
        self.assert_error(outcome, 3189, terminated="VERIFY DATABASE")
        self.assertIn(bad, outcome.stdout + outcome.stderr)
        self.assertEqual(self.restore_copy(", CHECKSUM").messages[0].number, 3183)
        outcome = self.restore_copy("")
        self.assertEqual(outcome.messages[0].number, 3182, outcome.describe())
        self.assertFalse(self.copy.exists())
        outcome = self.assert_done(self.restore_copy(", CONTINUE_AFTER_ERROR"))
        self.assertIn("was written with damaged data", outcome.stdout + outcome.stderr)
        self.assertEqual(self.copy.read_bytes()[page * 4096], 0x07)


if __name__ == "__main__":
    main()
