"""Plugins that crash, hang, spin, or take all the memory there is: each costs its own job only.

Every plugin has an agent of its own in one server, and all of them go wrong at the same time, while
a job of the disk agent is under way.
"""

from __future__ import annotations

import subprocess
import time

from harness import (CapstanServer, Outcome, Programs, ServerTestCase, disks, finish, main,
                     program_of, quoted, wait_for)

WAYS = ("crash", "block", "spin", "devour", "linger")
# How the process of each ends, as the list of agents has it.
LAST_EXIT = {"crash": "signal 6", "devour": "signal 6", "block": "exit 3: the plugin does not let go",
             "spin": "exit 3: the plugin does not let go",
             "linger": "exit 3: the plugin does not let go"}
# What the statement says: no answer in time, the agent gone, or the plugin's own error.
NUMBERS = {"crash": {3202}, "devour": {3202, 3271}, "block": {3271}, "spin": {3271},
           "linger": {3202}}
SLOWLY = "BUFFERCOUNT = 2, MAXTRANSFERSIZE = 65536"
BIG = 48 << 20


class MisbehavingPlugins(ServerTestCase):
    def setUp(self) -> None:
        folder = Programs.folder.parent / "lib" / "misbehaving"
        self.server = CapstanServer(
            start=False, device_timeout_s=3,
            agent=[{"name": "disk", "plugin": "disk"},
                   *({"name": way, "plugin": str(folder / f"{way}.so")} for way in WAYS)])
        self.addCleanup(self._close)
        self.server.start()
        wait_for(lambda: set(WAYS) <= self.agents().keys(), "the agents of all plugins")

    def agents(self) -> dict[str, dict[str, object]]:
        """Those that are attached, by name."""
        rows = self.server.query("SELECT * FROM sys.dm_backup_agents")
        return {str(row["agent_name"]): row for row in rows if row["state"] in ("Idle", "Serving")
                and program_of(int(str(row["pid"] or 0)))}

    def start_backup(self, way: str) -> tuple[subprocess.Popen[str], float]:
        name = quoted(f"{way}://{self.server.media}/{way}/medium")
        (self.server.media / way).mkdir()
        self.server.next_database(name=way)
        return self.server.popen("exec", f"BACKUP DATABASE {way} TO URL = {name}"
                                         f" WITH FORMAT, {SLOWLY}"), time.monotonic()

    def check_refusal(self, way: str, outcome: Outcome) -> None:
        self.assertEqual(outcome.exit_code, 1, f"{way}: {outcome.describe()}")
        self.assertIn(outcome.numbers[0], NUMBERS[way], f"{way}: {outcome.describe()}")
        self.assertEqual(outcome.numbers[-1], 3013, outcome.describe())
        self.assertIn(f"/{way}/medium", outcome.messages[0].text)
        self.assertLess(outcome.seconds, 30, way)

    def test_each_costs_its_own_job(self) -> None:
        self.server.next_database(size=BIG)
        before = self.agents()
        medium = self.server.media / "sound.bak"
        sound = self.server.popen("exec",
                                  f"BACKUP DATABASE source TO {disks(medium)} WITH MAXRATE = 4")
        sound_begin = time.monotonic()
        statements = {way: self.start_backup(way) for way in WAYS}
        for way, (process, begin) in statements.items():
            with self.subTest(way):
                self.check_refusal(way, finish(process, begin))

        self.assertIsNone(sound.poll(), "the sound job ended before the others went wrong")
        self.assert_done(finish(sound, sound_begin))
        self.assert_done(self.server.verify(medium))
        self.assert_works()

        def all_are_back() -> bool:
            now = self.agents()
            return set(WAYS) <= now.keys() and all(
                now[way]["pid"] != before[way]["pid"] for way in WAYS)
        wait_for(all_are_back, "the agents of the misbehaving plugins")
        now = self.agents()
        self.assertEqual(now["disk"]["pid"], before["disk"]["pid"])
        self.assertEqual(now["disk"]["restarts"], 0)
        for way in WAYS:
            with self.subTest(way):
                self.assertEqual(now[way]["restarts"], 1)
                self.assertIn(LAST_EXIT[way], str(now[way]["last_exit"]))
        wait_for(lambda: not self.server.journal(), "the settling of the failed backups")


if __name__ == "__main__":
    main()
