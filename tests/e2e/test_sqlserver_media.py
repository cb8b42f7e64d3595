"""Media of SQL Server: listed and verified by statements; never written to, never restored."""

from __future__ import annotations

import os
import subprocess
import unittest
from pathlib import Path

from harness import Programs, ServerTestCase, disks, main, quoted
from test_main_job import FILE_COLUMNS, HEADER_COLUMNS, LABEL_COLUMNS

SAMPLES = Path(os.environ.get("CAPSTAN_SQLSERVER_SAMPLES", "/nonexistent"))
VERIFY = "RESTORE VERIFYONLY"


class SqlServerMedia(ServerTestCase):

    def setUp(self) -> None:
        super().setUp()
        subprocess.run([Programs.path("sqlserver_media_maker"), self.server.media], check=True,
                       timeout=60)

    def medium(self, name: str) -> Path:
        return self.server.media / name

    def rows(self, query: str, medium: Path, options: str = "") -> list[dict[str, object]]:
        suffix = f" WITH {options}" if options else ""
        return self.server.query(f"RESTORE {query} FROM {disks(medium)}{suffix}")

    def check_verifies(self, *media: Path, options: str = "") -> None:
        suffix = f" WITH {options}" if options else ""
        outcome = self.assert_done(self.server.exec(f"{VERIFY} FROM {disks(*media)}{suffix}"))
        self.assertIn("is valid.", outcome.stdout)

    def test_every_form_is_listed_with_all_columns(self) -> None:
        for name, major, compressed, sets in (("version9.bak", 9, 0, 1), ("version10.bak", 10, 0, 1),
                                              ("version13.bak", 13, 1, 1),
                                              ("version15.trn", 15, 0, 1),
                                              ("version17.bak", 17, 0, 2)):
            medium = self.medium(name)
            (label,) = self.rows("LABELONLY", medium)
            self.assertEqual(list(label), LABEL_COLUMNS)
            self.assertEqual(label["SoftwareName"], "Microsoft SQL Server")
            self.assertEqual(int(label["IsCompressed"]), compressed)
            headers = self.rows("HEADERONLY", medium)
            self.assertEqual(len(headers), sets)
            self.assertEqual(list(headers[0]), HEADER_COLUMNS)
            self.assertEqual(int(headers[-1]["Position"]), sets)
            self.assertEqual(int(headers[0]["SoftwareVersionMajor"]), major)
            self.assertEqual(headers[0]["FirstLSN"], "37000000043000037")
            files = self.rows("FILELISTONLY", medium, f"FILE = {sets}")
            self.assertEqual(list(files[0]), FILE_COLUMNS)
            self.assertEqual([row["Type"] for row in files], ["D", "L"])
            self.check_verifies(medium, options=f"FILE = {sets}")

    def test_stripes_verify_together_only(self) -> None:
        first, second = self.medium("stripe1.bak"), self.medium("stripe2.bak")
        self.check_verifies(first, second)
        self.check_verifies(second, first)
        self.assert_error(self.server.verify(first), 3132, 2, 1, terminated="VERIFY DATABASE")

    def test_damage_is_named_with_its_place(self) -> None:
        medium = self.medium("version10.bak")
        content = bytearray(medium.read_bytes())
        content[40000] ^= 4
        medium.write_bytes(content)
        self.assert_error(self.server.verify(medium), 65004, medium, "checksum",
                          terminated="VERIFY DATABASE")
        medium.write_bytes(bytes(content[:100000]))
        self.assert_error(self.server.verify(medium), 3256, medium, terminated="VERIFY DATABASE")

    def test_checksums_must_be_there_if_asked_for(self) -> None:
        self.check_verifies(self.medium("version10.bak"), options="CHECKSUM")
        outcome = self.server.exec(
            f"{VERIFY} FROM {disks(self.medium('version9.bak'))} WITH CHECKSUM")
        self.assert_error(outcome, 3187, terminated="VERIFY DATABASE")

    def test_password_opens_the_medium(self) -> None:
        medium = self.medium("password.bak")
        for query in ("LABELONLY", "HEADERONLY", "FILELISTONLY", "VERIFYONLY"):
            refused = self.server.exec(f"RESTORE {query} FROM {disks(medium)}")
            self.assertIn(3279, refused.numbers, query)
            wrong = self.server.exec(
                f"RESTORE {query} FROM {disks(medium)} WITH MEDIAPASSWORD = 'Secret'")
            self.assertIn(3279, wrong.numbers, query)
        (label,) = self.rows("LABELONLY", medium, "MEDIAPASSWORD = 'secret'")
        self.assertEqual(int(label["SoftwareVendorId"]), 4608)
        self.check_verifies(medium, options="MEDIAPASSWORD = 'secret'")

    def test_restore_and_backup_leave_the_medium_to_sql_server(self) -> None:
        self.server.next_database()
        for name in ("version13.bak", "version17.bak"):
            medium = self.medium(name)
            before = medium.read_bytes()
            target = self.server.db / "restored.db"
            outcome = self.server.restore("sales", medium,
                                          options=f"MOVE 'sales1' TO {quoted(target)}")
            self.assert_error(outcome, 65013, medium, terminated="RESTORE DATABASE")
            self.assertFalse(target.exists())
            self.assertEqual(self.server.backup("source", medium).numbers, [65009, 3013])
            self.assertEqual(medium.read_bytes(), before)

    @unittest.skipUnless(SAMPLES.is_dir(), "no media of SQL Server (CAPSTAN_SQLSERVER_SAMPLES)")
    def test_real_media(self) -> None:
        media = sorted(p for p in SAMPLES.rglob("*") if p.suffix.lower() in (".bak", ".trn"))
        self.assertTrue(media)
        families: dict[object, list[Path]] = {}
        for medium in media:
            options = "MEDIAPASSWORD = 'dbatools'" if medium.name == "passwd.bak" else ""
            (label,) = self.rows("LABELONLY", medium, options)
            families.setdefault(label["MediaSetId"], []).append(medium)
            headers = self.rows("HEADERONLY", medium, options)
            self.assertEqual(list(headers[0]), HEADER_COLUMNS)
            self.assertTrue(headers[0]["DatabaseName"])
            self.assertTrue(self.rows("FILELISTONLY", medium, options))
        for group in families.values():
            password = "MEDIAPASSWORD = 'dbatools'" if group[0].name == "passwd.bak" else ""
            self.check_verifies(*group, options=password)


if __name__ == "__main__":
    main()
