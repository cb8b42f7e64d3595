"""tools/mtfdump.py, written from the format's page alone, against media that the product made: what
it says of them, that it finds damage, and that it puts databases together (S0-53)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness import ServerTestCase, content_of, main

PROGRAM = Path(__file__).resolve().parents[2] / "tools" / "mtfdump.py"


def mtfdump(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-B", str(PROGRAM), *map(str, arguments)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


class SecondReader(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=120_000)
        self.content = content_of(self.source)

    def backup(self, *names: str, options: str = "") -> list[Path]:
        media = [self.server.media / name for name in names]
        self.assert_done(self.server.backup("source", *media,
                                            options=f"MAXTRANSFERSIZE = 65536{options}"))
        return media

    def check_sound(self, media: list[Path], *words: str) -> str:
        result = mtfdump("--draw", *media)
        self.assertEqual(result.returncode, 0, result.stdout)
        for word in ("complete", *words):
            self.assertIn(word, result.stdout)
        self.assertLessEqual(max(len(line) for line in result.stdout.splitlines()
                                 if line.startswith("   |")), 80)
        return result.stdout

    def check_extracted(self, media: list[Path], position: int = 1) -> None:
        directory = self.server.media / "extracted"
        result = mtfdump("--extract", directory, "--set", position, *media)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertEqual(content_of(directory / self.source.name), self.content)

    def test_plain_and_striped(self) -> None:
        for names in (("1.bak",), ("a.bak", "b.bak", "c.bak")):
            media = self.backup(*names)
            self.check_sound(media, f"of {len(names)}, media set")
            self.check_extracted(media)

    def test_appended_sets(self) -> None:
        media = self.backup("1.bak")
        self.backup("1.bak")
        self.backup("1.bak")
        self.check_sound(media, "set 3 at")
        self.check_extracted(media, 2)

    def test_compressed(self) -> None:
        media = self.backup("1.bak", options=", COMPRESSION (ALGORITHM = LZ4)")
        self.check_sound(media, "LZ4")
        self.check_extracted(media)
        media = self.backup("2.bak", options=", COMPRESSION (ALGORITHM = ZSTD)")
        self.check_sound(media, "ZSTD")

    def test_encrypted(self) -> None:
        self.assert_done(self.server.exec("CREATE CERTIFICATE c WITH SUBJECT = 'second reader'"))
        for name, more in (("1.bak", ""), ("2.bak", ", COMPRESSION")):
            media = self.backup(name, options=", ENCRYPTION (ALGORITHM = AES_256, "
                                f"SERVER CERTIFICATE = c){more}")
            self.check_sound(media, "encrypted")
            result = mtfdump("--extract", self.server.media / "no", *media)
            self.assertIn("encrypted", result.stdout)
            self.assertNotEqual(result.returncode, 0)

    def test_damage(self) -> None:
        (path,) = self.backup("1.bak")
        whole = path.read_bytes()
        for at in (30, 4100, 8192 + 60, 8192 + 1500, 20_000, len(whole) // 2, len(whole) - 9000,
                   len(whole) - 100):
            with self.subTest(at=at):
                path.write_bytes(whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1:])
                result = mtfdump(path)
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn("DAMAGE at byte", result.stdout)
        for size in (100, 8192, len(whole) // 2, len(whole) - 4096):
            path.write_bytes(whole[:size])
            self.assertEqual(mtfdump(path).returncode, 1, size)

    def test_families_of_different_backups(self) -> None:
        first = self.backup("a.bak", "b.bak")
        second = self.backup("c.bak", "d.bak")
        result = mtfdump(first[0], second[1])
        self.assertEqual(result.returncode, 1)
        self.assertIn("several media sets", result.stdout)
        self.assertIn("are missing", mtfdump(first[0]).stdout)


if __name__ == "__main__":
    main()
