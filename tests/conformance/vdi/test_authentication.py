"""A server that asks for passwords: the statement needs one, the virtual device does not."""

from __future__ import annotations

from vendor import VendorTestCase, main


class Passwords(VendorTestCase):
    settings = {"authentication": "password"}

    def setUp(self) -> None:
        super().setUp()
        self.assert_done(self.server.exec("CREATE LOGIN sa WITH PASSWORD = N'right'"))
        self.add_proj()

    def test_right_password(self) -> None:
        file = self.server.media / "p"
        self.assert_piped(self.pipe("B", "proj", file, password="right").wait(), "BACKUP")
        self.assert_piped(self.pipe("R", "proj", file, password="right").wait(), "RESTORE")

    def test_wrong_password(self) -> None:
        """The sample waits in GetConfiguration to the end, then shows what sqlcmd said."""
        ended = self.pipe("B", "proj", self.server.media / "p", password="wrong").wait()
        self.assertIn("VDS::Getconfig fails: x80770003\n", ended.text)
        self.assertIn("Timed out. Was Microsoft SQLServer running?\n", ended.text)
        self.assertEqual(ended.numbers, [18456], ended.describe())
        self.assert_nothing_new()

    def test_wrong_password_of_a_client_that_watches(self) -> None:
        ended = self.run_client("threads_client", "--backup", "proj", "--file",
                                self.server.media / "p", "--user", "sa", "--password", "wrong")
        self.assertIn("The statement ended before the set was configured\n", ended.text)
        self.assertEqual(ended.numbers, [18456], ended.describe())
        self.assertLess(ended.seconds, 8)


if __name__ == "__main__":
    main()
