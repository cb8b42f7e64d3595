r"""Media in a tape library, through the whole product: BACKUP and RESTORE with TAPE = '\\.\Tape0'.

The library is an emulated one: a folder, whose drives answer as real ones do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import tomllib
from pathlib import Path

from harness import (CapstanServer, Outcome, ServerTestCase, content_of, finish, main, program_of,
                     quoted, toml, wait_for)

TAPE0 = r"TAPE = '\\.\Tape0'"
MIB = 1 << 20
SMALL = "MAXTRANSFERSIZE = 65536, BUFFERCOUNT = 4"
FIRST_DRIVE, FIRST_SLOT = 256, 1024


class Library:
    """An emulated library's folder, looked after as a person would."""

    def __init__(self, folder: Path, capacity: int = 64 * MIB, slots: int = 8) -> None:
        self.folder = folder
        self.capacity = capacity
        for name in ("cartridges", "locks"):
            (folder / name).mkdir(parents=True)
        self.write(folder / "library.toml", {
            "generation": "LTO-8", "drives": 2, "slots": slots, "ports": 1,
            "capacity_bytes": capacity, "early_warning_bytes": MIB})
        self.set_state({})

    @staticmethod
    def write(path: Path, values: dict[str, object]) -> None:
        path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))

    def add(self, *barcodes: str, **record: object) -> None:
        """Blank, each in the first free slot."""
        for barcode in barcodes:
            self.write(self.folder / "cartridges" / f"{barcode}.toml", {
                "barcode": barcode, "generation": "LTO-8", "capacity_bytes": self.capacity,
                **record})
            (self.folder / "cartridges" / f"{barcode}.tap").touch()
            state = self.state()
            address = next(a for a in range(FIRST_SLOT, FIRST_SLOT + 99)
                           if a not in state)
            state[address] = barcode
            self.set_state(state)

    def state(self) -> dict[int, str]:
        state = tomllib.loads((self.folder / "elements.toml").read_text())
        return {element["address"]: element["barcode"] for element in state["element"]}

    def set_state(self, state: dict[int, str]) -> None:
        self.write(self.folder / "elements.toml", {"element": [
            {"address": address, "barcode": barcode, "source": 0, "threading": "inserted"}
            for address, barcode in sorted(state.items())], "drive": []})

    def in_drive(self, index: int = 0) -> str:
        return self.state().get(FIRST_DRIVE + index, "")

    def put_into_drive(self, barcode: str, index: int = 0) -> None:
        """Whatever is in the drive goes to the slot that is free then."""
        state = {a: b for a, b in self.state().items() if b != barcode}
        before = state.pop(FIRST_DRIVE + index, None)
        if before is not None:
            state[next(a for a in range(FIRST_SLOT, FIRST_SLOT + 99) if a not in state)] = before
        if barcode:
            state[FIRST_DRIVE + index] = barcode
        self.set_state(state)

    def change(self, barcode: str, **record: object) -> None:
        path = self.folder / "cartridges" / f"{barcode}.toml"
        self.write(path, {**tomllib.loads(path.read_text()), **record})

    def recorded(self, barcode: str) -> int:
        return (self.folder / "cartridges" / f"{barcode}.tap").stat().st_size


class TapeTestCase(ServerTestCase):
    """A server with the tape agent beside the disk agent, and a library `vault` of two drives."""

    capacity = 64 * MIB
    options: dict[str, object] = {}

    def setUp(self) -> None:
        self.server = CapstanServer(start=False)
        self.addCleanup(self._close)
        self.library = Library(self.server.root / "vault", self.capacity)
        self.server.settings["agent"] = [
            {"name": "disk", "plugin": "disk"},
            {"name": "tape", "plugin": "tape",
             "options": {"library.vault": str(self.library.folder), **self.options}}]
        self.server.start()
        self.agent_pid()

    def agent_pid(self) -> int:
        def attached() -> list[int]:
            rows = self.server.query("SELECT agent_name, pid FROM sys.dm_backup_agents")
            return [int(str(row["pid"])) for row in rows if row["agent_name"] == "tape"
                    and program_of(int(str(row["pid"]))) == "capstan-agent"]
        return wait_for(attached, "the tape agent")[0]  # type: ignore[index]

    def backup(self, options: str = "", device: str = TAPE0) -> Outcome:
        return self.server.exec(f"BACKUP DATABASE source TO {device}"
                                + (f" WITH {options}" if options else ""))

    def restored(self, options: str = "", device: str = TAPE0) -> str:
        """Restores to a new database, and returns its content."""
        target = self.server.db / f"restored_{time.monotonic_ns()}.db"
        options = f", {options}" if options else ""
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE {target.stem} FROM {device}"
            f" WITH MOVE 'source' TO {quoted(target)}{options}"))
        return content_of(target)

    def positions(self) -> list[object]:
        return [row["Position"]
                for row in self.server.query(f"RESTORE HEADERONLY FROM {TAPE0}")]

    def insert(self, source: Path, identity: int) -> str:
        subprocess.run(["sqlite3", source, f"INSERT INTO item VALUES ({identity}, 'later', 'x')"],
                       check=True)
        return content_of(source)


class Sets(TapeTestCase):
    def test_sets_are_appended_listed_and_restored(self) -> None:
        """S3-27, S3-28, S3-17, S3-18"""
        self.library.add("CAP001L8")
        source = self.server.next_database(size=2 * MIB)
        contents = []
        for number in (1, 2, 3):
            contents.append(self.insert(source, 1_000_000 + number))
            self.assert_done(self.backup("CHECKSUM"))
        self.assertEqual(self.library.in_drive(), "CAP001L8")
        self.assertEqual(self.positions(), [1, 2, 3])
        for number in (2, 1, 3):
            self.assertEqual(self.restored(f"FILE = {number}"), contents[number - 1])
        self.assert_done(self.server.exec(f"RESTORE VERIFYONLY FROM {TAPE0} WITH FILE = 2"))

        before = self.library.recorded("CAP001L8")
        self.assert_done(self.backup("INIT"))
        self.assertEqual(self.positions(), [1])
        self.assertLess(self.library.recorded("CAP001L8"), before)
        self.assertEqual(self.restored(), contents[2])

    def test_refusals_say_what_to_do(self) -> None:
        source = self.server.next_database()
        nothing = self.backup()
        self.assert_error(nothing, 3201, r"\\.\Tape0", "none in the library that can be written")
        self.library.add("CAP001L8", write_protected=True)
        self.library.add("CAP002LX", generation="LTO-8", worm=True)
        self.library.add("CLN001L1", cleaning=True, cleanings_left=50)
        self.library.put_into_drive("CAP001L8")
        self.assert_error(self.backup("FORMAT"), 3201, "'CAP001L8' is write-protected")
        self.library.put_into_drive("")
        self.library.change("CAP001L8", write_protected=False)
        self.library.put_into_drive("CAP002LX")
        self.assert_done(self.backup())
        first = content_of(source)
        self.insert(source, 1_000_000)
        self.assert_done(self.backup())
        self.assert_error(self.backup("FORMAT"), 3201, "'CAP002LX' can be written once")
        self.assertEqual(self.restored("FILE = 1"), first)
        self.library.put_into_drive("CLN001L1")
        self.assert_error(self.backup("FORMAT"), 3201, "drive 'vault/0'", "CLN001L1")
        unknown = self.backup(device="TAPE = 'crypt/0'")
        self.assert_error(unknown, 3201, "unable to find drive 'crypt/0'")


class Spanning(TapeTestCase):
    capacity = 4 * MIB

    def test_a_backup_goes_over_several_cartridges(self) -> None:
        self.library.add("CAP001L8", "CAP002L8", "CAP003L8", "CAP004L8")
        source = self.server.next_database(size=10 * MIB)
        first = content_of(source)
        self.assert_done(self.backup(SMALL))
        self.assertIn(self.library.in_drive(), ("CAP003L8", "CAP004L8"))
        self.assertEqual(self.restored(SMALL), first)

        # Another one behind it, that begins on the last cartridge.
        self.library.add("CAP005L8", "CAP006L8", "CAP007L8")
        second = self.insert(source, 1_000_000)
        self.assert_done(self.backup(SMALL))
        self.assertEqual(self.restored(f"FILE = 2, {SMALL}"), second)
        self.assertEqual(self.restored(f"FILE = 1, {SMALL}"), first)

    def test_it_waits_for_a_cartridge_and_goes_on(self) -> None:
        self.library.add("CAP001L8")
        source = self.server.next_database(size=5 * MIB)
        begin = time.monotonic()
        running = self.server.popen("exec", f"BACKUP DATABASE source TO {TAPE0} WITH {SMALL}")
        wait_for(lambda: self.library.recorded("CAP001L8") > 2 * MIB
                 and not self.library.in_drive(), "the first cartridge to be full")
        # Meanwhile the drive is that job's.
        self.server.next_database(name="other")
        other = self.server.exec(f"BACKUP DATABASE other TO {TAPE0} WITH FORMAT")
        self.assert_error(other, 3201, "drive 'vault/0'", "is used by job")
        self.assertIsNone(running.poll())
        self.library.add("CAP002L8")
        self.assert_done(finish(running, begin))
        self.assertEqual(self.library.in_drive(), "CAP002L8")

        # Whichever is in the drive, the right one is fetched.
        self.library.put_into_drive("CAP001L8")
        self.assertEqual(self.restored(SMALL), content_of(source))


class Ends(TapeTestCase):
    def test_sets_outlive_an_agent_that_is_killed(self) -> None:
        self.library.add("CAP001L8")
        source = self.server.next_database(size=16 * MIB)
        first = content_of(source)
        self.assert_done(self.backup())
        before = self.library.recorded("CAP001L8")
        pid = self.agent_pid()
        begin = time.monotonic()
        running = self.server.popen("exec", f"BACKUP DATABASE source TO {TAPE0} WITH {SMALL}")
        wait_for(lambda: self.library.recorded("CAP001L8") > before + 2 * MIB, "some of the set")
        os.kill(pid, signal.SIGKILL)
        outcome = finish(running, begin)
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        wait_for(lambda: self.agent_pid() != pid, "another agent")

        self.assertEqual(self.restored("FILE = 1"), first)
        second = self.insert(source, 1_000_000)
        self.assert_done(self.backup())
        self.assertEqual(self.positions(), [1, 2])
        self.assertEqual(self.restored("FILE = 2"), second)


if __name__ == "__main__":
    main()
