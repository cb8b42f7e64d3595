"""SQLite: Capstan against the sqlite3 shell, cp and dd."""

from __future__ import annotations

from pathlib import Path

from comparison.capstan_server import CapstanServer
from comparison.comparison import Case
from comparison.contest import Contestant, run_command
from comparison.report import Promise

NULL_DEVICE = Path("/dev/null")


PROMISES = [
    Promise("full to disk", "capstan, 1 disk", "sqlite3 .backup", 0.25),
    Promise("full to disk", "capstan, 1 disk", "dd oflag=direct", 1.2),
    Promise("full to 2 disks", "capstan, 2 disks", "dd oflag=direct", 1.2),
    Promise("full to null, engine's seconds", "capstan, null: engine", "dd of=/dev/null", 1.5),
    Promise("restore", "capstan restore", "sqlite3 .restore", 0.5),
    Promise("restore", "capstan restore", "sqlite3 .restore, new file", 0.5),
    Promise("restore, cold", "capstan restore, cold", "sqlite3 .restore, cold", 0.5),
]


class SqliteCase(Case):
    """Backups to disk and to nowhere, and restores."""

    PROMISES = PROMISES
    MEMORY_LIMIT_MIB = 64

    def __init__(self, directory: Path, server: CapstanServer) -> None:
        super().__init__(directory, server)
        self._medium = directory / "to_restore.bak"
        self._plain_copy = directory / "to_restore.db"

    def prepare(self) -> None:
        super().prepare()
        self._server.backup([self._medium])
        run_command(["sqlite3", str(self.database), f".backup '{self._plain_copy}'"])
        self._server.restore([self._medium], self.restored)

    def contestants(self) -> list[Contestant]:
        return [*self._backups(), *self._null_devices(), *self._restores()]

    def _backups(self) -> list[Contestant]:
        output = self._directory / "output"
        disks = [self._directory / f"stripe_{number}.bak" for number in (1, 2)]
        source = str(self.database)

        def shell(name: str, *commands: list[str]) -> Contestant:
            def run() -> None:
                for command in commands:
                    run_command(command)

            return Contestant(name, run, reads=self.database, removes=[output])

        return [
            self._capstan_backup("capstan, 1 disk", disks[:1]),
            self._capstan_backup("capstan, 2 disks", disks),
            shell("sqlite3 .backup", ["sqlite3", source, f".backup '{output}'"]),
            shell("sqlite3 VACUUM INTO", ["sqlite3", source, f"VACUUM INTO '{output}'"]),
            shell("cp + fsync", ["cp", "--reflink=never", source, str(output)],
                  ["sync", str(output)]),
            shell("dd oflag=direct", ["dd", f"if={source}", f"of={output}", "bs=1M",
                                      "oflag=direct", "conv=fsync"]),
        ]

    def _null_devices(self) -> list[Contestant]:
        command = ["dd", f"if={self.database}", f"of={NULL_DEVICE}", "bs=1M"]
        return [
            self._capstan_backup("capstan, null", [NULL_DEVICE]),
            Contestant("dd of=/dev/null", lambda: run_command(command) and None,
                       reads=self.database),
        ]

    def _capstan_backup(self, name: str, targets: list[Path]) -> Contestant:
        def run() -> dict[str, float]:
            return {f"{name}: engine": self._server.backup(targets)}

        removes = [target for target in targets if target != NULL_DEVICE]
        return Contestant(name, run, reads=self.database, removes=removes)

    def _restores(self) -> list[Contestant]:
        peer_target = self._directory / "peer_restored.db"

        def capstan(name: str, cold: bool) -> Contestant:
            def run() -> dict[str, float]:
                return {f"{name}: engine": self._server.restore([self._medium], self.restored)}

            return Contestant(name, run, reads=self._medium, cold=cold)

        def dot_restore() -> None:
            run_command(["sqlite3", str(peer_target), f".restore '{self._plain_copy}'"])

        def copy() -> None:
            run_command(["cp", "--reflink=never", str(self._plain_copy), str(peer_target)])
            run_command(["sync", str(peer_target)])

        def existing() -> None:
            if not peer_target.exists():
                copy()

        return [
            capstan("capstan restore", cold=False),
            capstan("capstan restore, cold", cold=True),
            Contestant("sqlite3 .restore", dot_restore, reads=self._plain_copy, prepare=existing),
            Contestant("sqlite3 .restore, cold", dot_restore, reads=self._plain_copy, cold=True,
                       prepare=existing),
            Contestant("sqlite3 .restore, new file", dot_restore, reads=self._plain_copy,
                       removes=[peer_target]),
            Contestant("cp + fsync back", copy, reads=self._plain_copy, prepare=existing),
        ]
