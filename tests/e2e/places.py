"""Where media can be: a folder, the drives of a tape library, a bucket. To a test they are all alike.

A Place has media number 0 and 1, which a statement names with their clauses. It is there before the
server starts, which needs its settings, and is closed after the server.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from harness import CapstanServer, Programs, ServerTestCase, program_of, wait_for
from s3.memory_server import MemoryS3
from s3.server import BUCKET
from test_tape import Library

FILEMARK = struct.pack("<I", 0)  # in an image of a tape
SECTOR = 512


def foreign_medium(path: Path) -> bytes:
    """What another program's backup leaves, as a file."""
    subprocess.run([Programs.path("foreign_medium_process"), path], check=True)
    return path.read_bytes()


def tape_image(medium: bytes) -> bytes:
    """The same with filemarks for its SFMB blocks, as SIMH's images of tapes have it."""
    image, block = b"", b""
    mark_size = struct.unpack_from("<H", medium, 64)[0] * SECTOR
    at = 0
    while at < len(medium):
        is_mark = medium[at:at + 4] == b"SFMB"
        if not is_mark:
            block += medium[at:at + SECTOR]
        if block and (is_mark or at + SECTOR >= len(medium)):
            size = struct.pack("<I", len(block))
            image, block = image + size + block + size, b""
        if is_mark:
            image += FILEMARK
        at += mark_size if is_mark else SECTOR
    return image


class Place:
    name = ""
    without_mirrors = ""  # why there are none; empty: there are

    def __init__(self, server: CapstanServer) -> None:
        self.server = server

    def clause(self, number: int) -> str:
        raise NotImplementedError

    def contents(self, number: int) -> bytes:
        """The bytes of a medium, or of what stands for it."""
        raise NotImplementedError

    def load_foreign(self, number: int) -> None:
        raise NotImplementedError

    def wait_until_ready(self) -> None:
        """For its agent, once the server has started."""

    def close(self) -> None:
        pass

    def _wait_for_agent(self, name: str) -> None:
        wait_for(lambda: [row for row in self.server.query(
            "SELECT agent_name, pid FROM sys.dm_backup_agents") if row["agent_name"] == name
            and program_of(int(str(row["pid"]))) == "capstan-agent"], f"the agent '{name}'")


class Folder(Place):
    name = "disk"

    def __init__(self, server: CapstanServer) -> None:
        super().__init__(server)
        server.settings["drive_map"] = {"e:": str(server.media)}

    def path(self, number: int) -> Path:
        return self.server.media / f"medium{number}.bak"

    def clause(self, number: int) -> str:
        return rf"DISK = N'E:\medium{number}.bak'"

    def contents(self, number: int) -> bytes:
        return self.path(number).read_bytes()

    def load_foreign(self, number: int) -> None:
        foreign_medium(self.path(number))


class Drives(Place):
    """S3-27"""

    name = "tape"
    without_mirrors = "media that are changed while they are written have no mirrors"

    def __init__(self, server: CapstanServer) -> None:
        super().__init__(server)
        self.library = Library(server.root / "vault")
        for number in (0, 1):
            self.library.add(f"CAP00{number}L8")
            self.library.put_into_drive(f"CAP00{number}L8", number)
        server.settings["agent"] = [
            {"name": "disk", "plugin": "disk"},
            {"name": "tape", "plugin": "tape",
             "options": {"library.vault": str(self.library.folder)}}]

    def clause(self, number: int) -> str:
        return rf"TAPE = N'\\.\Tape{number}'" if number == 0 else f"TAPE = N'vault/{number}'"

    def image(self, number: int) -> Path:
        return self.library.folder / "cartridges" / f"CAP00{number}L8.tap"

    def contents(self, number: int) -> bytes:
        return self.image(number).read_bytes()

    def load_foreign(self, number: int) -> None:
        medium = foreign_medium(self.server.root / "foreign")
        self.image(number).write_bytes(tape_image(medium))

    def wait_until_ready(self) -> None:
        self._wait_for_agent("tape")


class ObjectStore(Place):
    name = "s3"

    def __init__(self, server: CapstanServer) -> None:
        super().__init__(server)
        self.s3 = MemoryS3()
        names = self.s3.environment()
        self.before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        server.settings["agent"] = [{"name": "disk", "plugin": "disk"},
                                    {"name": "s3", "plugin": "s3"}]

    def clause(self, number: int) -> str:
        return f"URL = N's3://{BUCKET}/medium{number}.bak'"

    def contents(self, number: int) -> bytes:
        return self.s3.client.request("GET", f"/{BUCKET}/medium{number}.bak").body

    def load_foreign(self, number: int) -> None:
        medium = foreign_medium(self.server.root / "foreign")
        answer = self.s3.client.request("PUT", f"/{BUCKET}/medium{number}.bak", body=medium)
        assert answer.status == 200, answer

    def wait_until_ready(self) -> None:
        self._wait_for_agent("s3")

    def close(self) -> None:
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self.s3.stop()


class PlaceTestCase(ServerTestCase):
    """A server with one place for media, and a database named test."""

    place_type: type[Place]
    place: Place

    def setUp(self) -> None:
        self.server = CapstanServer(start=False)
        self.place = self.place_type(self.server)
        self.addCleanup(self.place.close)
        self.addCleanup(self._close)
        self.start()
        self.server.next_database(name="test", size=160 * 8192)

    def start(self) -> None:
        self.server.start()
        self.place.wait_until_ready()

    @property
    def device(self) -> str:
        return self.place.clause(0)

    @property
    def devices(self) -> str:
        return f"{self.place.clause(0)}, {self.place.clause(1)}"

    def headers(self, device: str) -> list[dict[str, object]]:
        return self.server.query(f"RESTORE HEADERONLY FROM {device}")
