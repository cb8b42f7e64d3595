"""Restores that find their backups by themselves, and what removes those that nothing needs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from bank import now_us
from harness import ServerTestCase, content_of, disks, main
from test_bank import moment_text


class FoundBackups(ServerTestCase):

    def change(self, path: Path, name: str) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("INSERT INTO item (name) VALUES (?)", (name,))
            db.commit()

    def two_backups(self) -> tuple[Path, list[str]]:
        """Full backups of two states, each on a medium of its own."""
        path = self.server.next_database(name="sales")
        contents = []
        for number in (1, 2):
            self.change(path, f"change {number}")
            contents.append(content_of(path))
            self.assert_done(self.server.exec(
                f"BACKUP DATABASE sales TO DISK = '{self.server.media}/sales{number}.bak'"))
        self.change(path, "lost")
        return path, contents

    def test_the_newest_is_found(self) -> None:
        """S1-43, S1-48, S1-52"""
        path, contents = self.two_backups()
        plan = self.server.query("RESTORE DATABASE sales FROM CATALOG WITH REPLACE, PLANONLY")
        self.assertEqual([row["type"] for row in plan], ["full"])
        self.assertIn("sales2.bak (present)", str(plan[0]["media"]))
        self.assertIn("lost", content_of(path), "a plan touches nothing")
        self.assert_done(self.server.run("restore", "sales", "--from-catalog", "--replace"))
        self.assertEqual(content_of(path), contents[1])

        folder = self.server.db / "elsewhere"
        folder.mkdir()
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE copy FROM DISK = '{self.server.media}/sales*.bak' SOURCE = 'sales'"
            f" LATEST_ALL WITH MOVE DATAFILES TO '{folder}'"))
        self.assertEqual(content_of(folder / "sales.db"), contents[1])

    def test_a_time_between_two_backups(self) -> None:
        """S1-32, however soon one follows the other: with RECOVERY and without."""
        path = self.server.next_database(name="sales")
        contents, moments = [], []
        for number in (1, 2):
            self.change(path, f"change {number}")
            contents.append(content_of(path))
            self.assert_done(self.server.backup("sales", self.server.media / f"{number}.bak"))
            moments.append(now_us())
            self.change(path, "after it")
            self.assert_done(self.server.exec(
                f"BACKUP LOG sales TO {disks(self.server.media / f'{number}.trn')}"))
        for number, ending in ((1, "RECOVERY"), (2, "RECOVERY"), (1, "NORECOVERY")):
            with self.subTest(number=number, ending=ending):
                outcome = self.assert_done(self.server.exec(
                    f"RESTORE DATABASE sales FROM CATALOG WITH REPLACE, {ending},"
                    f" STOPAT = '{moment_text(moments[number - 1])}'"))
                self.assertIn("Step 1 of 2: the full backup", outcome.stdout)
                self.assertIn(f"/{number}.bak'", outcome.stdout)
                self.assertIn(f"/{number}.trn'", outcome.stdout)
                if ending == "NORECOVERY":
                    self.assert_done(self.server.exec("RESTORE DATABASE sales WITH RECOVERY"))
                self.assertEqual(content_of(path), contents[number - 1])

    def test_a_missing_medium_is_named(self) -> None:
        """S1-60"""
        path, contents = self.two_backups()
        (self.server.media / "sales2.bak").unlink()
        outcome = self.server.exec("RESTORE DATABASE sales FROM CATALOG WITH REPLACE")
        error = self.assert_error(outcome, 65050, "sales2.bak", "its media are missing",
                                  terminated="RESTORE DATABASE")
        self.assertIn("lost", content_of(path))
        # What the hint says can be done.
        option = str(error.hint).split("up to ")[1].split(" (")[0]
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE sales FROM CATALOG WITH REPLACE, {option}"))
        self.assertEqual(content_of(path), contents[0])

    def test_several_databases_and_expiry(self) -> None:
        """S1-44"""
        for name in ("shop", "shop_old", "other"):
            self.server.next_database(name=name)
        media = self.server.media
        for number in (1, 2):
            self.assert_done(self.server.exec(
                f"BACKUP DATABASES [shop*] TO DISK = '{media}/<database>_<type>_{number}.bak'"))
        self.assertEqual(sorted(path.name for path in media.iterdir()),
                         ["shop_FULL_1.bak", "shop_FULL_2.bak",
                          "shop_old_FULL_1.bak", "shop_old_FULL_2.bak"])
        dry = self.assert_done(self.server.run("expire", "--keep-full", 1, "--dry-run"))
        self.assertIn("REMOVE", dry.stdout)
        self.assertEqual(len(list(media.iterdir())), 4)
        self.assert_done(self.server.run("expire", "--keep-full", 1, "shop"))
        self.assertEqual(sorted(path.name for path in media.iterdir()),
                         ["shop_FULL_2.bak", "shop_old_FULL_1.bak", "shop_old_FULL_2.bak"])
        self.assert_error(self.server.run("expire", "--keep-days", 1, "nowhere"), 911, "nowhere",
                          terminated=None)

    def test_settings_of_a_database(self) -> None:
        """S1-23"""
        self.server.next_database(name="sales")
        self.assert_done(self.server.exec(
            "ALTER DATABASE sales SET RECOVERY SIMPLE, BACKUP_PREFERENCE = SECONDARY"))
        rows = self.server.query(
            "SELECT recovery_model_desc AS model, state_desc AS state, backup_preference_desc AS p,"
            " sys.fn_hadr_backup_is_preferred_replica(name) AS here FROM sys.databases")
        self.assertEqual(rows, [{"model": "SIMPLE", "state": "ONLINE", "p": "SECONDARY",
                                 "here": True}])
        self.assert_error(self.server.exec("DROP DATABASE sales"), 65053, "sp_detach_db",
                          terminated=None)
        self.assertIn("PLANONLY", self.assert_done(self.server.exec("RESTORE HELP")).stdout)


if __name__ == "__main__":
    main()
