"""What compression, encryption and checksums cost, against lz4 and zstd on the same file."""

from __future__ import annotations

from pathlib import Path

from comparison.capstan_server import CapstanServer
from comparison.comparison import Case
from comparison.contest import Contestant, run_command
from comparison.report import Promise

ENCRYPTION = "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = bench)"
# How a statement asks for it, and under which name it competes.
CODINGS = {
    "plain": "NO_COMPRESSION",
    "checksum": "NO_COMPRESSION, CHECKSUM",
    "AES": f"NO_COMPRESSION, {ENCRYPTION}",
    "LZ4": "COMPRESSION (ALGORITHM = LZ4, LEVEL = LOW)",
    "ZSTD": "COMPRESSION (ALGORITHM = ZSTD, LEVEL = LOW)",
    "ZSTD medium": "COMPRESSION (ALGORITHM = ZSTD, LEVEL = MEDIUM)",
    "ZSTD and AES": f"COMPRESSION (ALGORITHM = ZSTD, LEVEL = LOW), {ENCRYPTION}",
}
RESTORED = ("plain", "AES", "LZ4", "ZSTD")
# Every peer twice: as it is, leaving the rest to the kernel, and with its file synced as ours is.
PEERS = {
    "lz4 -1": ["lz4", "-1"],
    "zstd -1 -T2": ["zstd", "-1", "-T2"],
    "zstd -3 -T2": ["zstd", "-3", "-T2"],
}
SYNCED = " + fsync"

PROMISES = [
    Promise("checksums", "capstan, checksum", "capstan, plain", 1.05),
    Promise("AES-256-GCM", "capstan, AES", "capstan, plain", 1.15),
    Promise("LZ4", "capstan, LZ4", "lz4 -1" + SYNCED, 1.0),
    Promise("LZ4, peer not synced", "capstan, LZ4", "lz4 -1", 1.0),
    Promise("ZSTD LOW", "capstan, ZSTD", "zstd -1 -T2" + SYNCED, 1.0),
    Promise("ZSTD LOW, peer not synced", "capstan, ZSTD", "zstd -1 -T2", 1.0),
    Promise("ZSTD MEDIUM", "capstan, ZSTD medium", "zstd -3 -T2" + SYNCED, 1.0),
    Promise("restore of LZ4", "capstan restore, LZ4", "lz4 -d" + SYNCED, 1.0),
    Promise("restore of ZSTD", "capstan restore, ZSTD", "zstd -d" + SYNCED, 1.0),
]


def _from_to(command: list[str], source: Path, target: Path) -> list[str]:
    """The two programs take the name of their output in different ways."""
    output = ["-o", str(target)] if command[0] == "zstd" else [str(target)]
    return [*command, "-f", "-q", str(source), *output]


class MediaCase(Case):
    """All of them store the same database under one name, one after the other."""

    PROMISES = PROMISES
    MEMORY_LIMIT_MIB = 64  # as for every other job

    def __init__(self, directory: Path, server: CapstanServer) -> None:
        super().__init__(directory, server)
        self._sizes: dict[str, int] = {}
        self._output = directory / "output"

    def prepare(self) -> None:
        super().prepare()
        # A passphrase would add its key derivation, a tenth of a second, to every run.
        self._server.execute("CREATE CERTIFICATE bench WITH SUBJECT = 'bench'")
        for coding in RESTORED:
            self._back_up(coding, self._medium(coding))
        for name in ("lz4", "zstd"):
            run_command(_from_to([name, "-1"], self.database, self._compressed(name)))

    def contestants(self) -> list[Contestant]:
        return [*self._backups(), *self._peers(), *self._restores(), *self._peer_restores()]

    def print_more(self) -> None:
        size = self.database.stat().st_size
        print(f"\n{'size of what was written':30}{'MB':>10}{'of the database':>18}")
        for name, written in self._sizes.items():
            print(f"{name:30}{written / 1e6:>10.1f}{written / size:>17.1%}")

    def _medium(self, coding: str) -> Path:
        return self._directory / f"to_restore_{coding.replace(' ', '_')}.bak"

    def _compressed(self, name: str) -> Path:
        return self._directory / f"to_restore.{name}"

    def _back_up(self, coding: str, target: Path) -> float:
        return self._server.execute_backup(
            f"BACKUP DATABASE bench TO DISK = '{target}' "
            f"WITH FORMAT, STATS = 100, {CODINGS[coding]}"
        )

    def _backups(self) -> list[Contestant]:
        def capstan(coding: str) -> Contestant:
            name = f"capstan, {coding}"

            def run() -> dict[str, float]:
                seconds = self._back_up(coding, self._output)
                self._sizes[name] = self._output.stat().st_size
                return {f"{name}: engine": seconds}

            return Contestant(name, run, reads=self.database, removes=[self._output])

        return [capstan(coding) for coding in CODINGS]

    def _peers(self) -> list[Contestant]:
        def peer(name: str, command: list[str], synced: bool) -> Contestant:
            def run() -> None:
                run_command(_from_to(command, self.database, self._output))
                if synced:
                    run_command(["sync", str(self._output)])
                self._sizes[name] = self._output.stat().st_size

            label = name + SYNCED if synced else name
            return Contestant(label, run, reads=self.database, removes=[self._output])

        return [peer(name, command, synced) for name, command in PEERS.items()
                for synced in (False, True)]

    def _restores(self) -> list[Contestant]:
        def capstan(coding: str) -> Contestant:
            name = f"capstan restore, {coding}"
            statement = (
                f"RESTORE DATABASE bench_copy FROM DISK = '{self._medium(coding)}' WITH REPLACE, "
                f"STATS = 100, MOVE 'bench' TO '{self.restored}'"
            )

            def run() -> dict[str, float]:
                return {f"{name}: engine": self._server.execute_restore(statement)}

            return Contestant(name, run, reads=self._medium(coding))

        return [capstan(coding) for coding in RESTORED]

    def _peer_restores(self) -> list[Contestant]:
        target = self._directory / "peer_restored.db"

        def peer(name: str) -> Contestant:
            def run() -> None:
                run_command(_from_to([name, "-d"], self._compressed(name), target))
                run_command(["sync", str(target)])

            return Contestant(f"{name} -d" + SYNCED, run, reads=self._compressed(name))

        return [peer("lz4"), peer("zstd")]
