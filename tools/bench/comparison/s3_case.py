"""S3: Capstan against the tools that people copy files to object stores with, on one server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comparison.capstan_server import CapstanServer
from comparison.comparison import Case
from comparison.contest import BenchError, Contestant, run_command
from comparison.memory import MemoryWatch, ProcessMemory
from comparison.report import Promise

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests" / "support"))

from s3.client import S3Client  # noqa: E402
from s3.server import S3Server, is_installed  # noqa: E402

BUCKET = "capstan-bench"
STREAMS = "4"  # of rclone; s3cmd has one
STOP_TIMEOUT_S = 20
# A server that runs already is used instead of one of our own.
SERVER_VARIABLES = ("S3_ENDPOINT", "S3_REGION", "S3_ACCESS_KEY", "S3_SECRET_KEY")


@dataclass(frozen=True)
class Store:
    """An S3 server and who we are there."""

    client: S3Client

    @property
    def host(self) -> str:
        return f"{self.client.host}:{self.client.port}"

    def environment(self, directory: Path) -> dict[str, str]:
        """For Capstan's agent and for all peers."""
        configuration = directory / "s3.toml"
        configuration.write_text(
            f'endpoint = "http://{self.host}"\nregion = "{self.client.region}"\n'
            'addressing = "path"\n')
        # rclone fails on any request where this is set.
        inherited = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
        return {
            **inherited,
            "AWS_DEFAULT_REGION": self.client.region,
            "CAPSTAN_S3_CONFIG": str(configuration),
            "AWS_ACCESS_KEY_ID": self.client.access_key,
            "AWS_SECRET_ACCESS_KEY": self.client.secret_key,
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_ENDPOINT": f"http://{self.host}",
            "RCLONE_S3_REGION": self.client.region,
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
        }


@contextmanager
def a_store() -> Iterator[Store]:
    values = [os.environ.get(name) for name in SERVER_VARIABLES]
    if all(values):
        endpoint, region, access_key, secret_key = map(str, values)
        host, _, port = endpoint.removeprefix("http://").rstrip("/").partition(":")
        yield Store(S3Client(host, int(port or 80), region, access_key, secret_key))
        return
    if not is_installed():
        raise BenchError("there is no S3 server: run tools/setup, or set " +
                         ", ".join(SERVER_VARIABLES))
    with S3Server() as server:
        yield Store(server.client)


@contextmanager
def an_agent(bin_dir: Path, socket: Path, environment: dict[str, str], log: Path
             ) -> Iterator[MemoryWatch]:
    with open(log, "wb") as output:
        agent = subprocess.Popen(
            [str(bin_dir / "capstan-agent"), "--plugin", "s3", "--server", f"unix:{socket}"],
            stderr=output, env=environment)
    memory = MemoryWatch(agent.pid)
    memory.start()
    try:
        yield memory
    finally:
        memory.stop()
        agent.terminate()
        try:
            agent.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


class S3Case(Case):
    """One object store, an agent of ours beside the server, and the peers that are installed."""

    MEMORY_LIMIT_MIB = 32

    def __init__(self, directory: Path, server: CapstanServer) -> None:
        super().__init__(directory, server)
        self._medium = f"s3://{BUCKET}/to_restore.bak"
        self._copy = "to_restore.db"

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        with a_store() as self._store:
            self._environment = self._store.environment(self._directory)
            with an_agent(self._server.bin_dir, self._server.socket, self._environment,
                          self._directory / "agent.log") as self._memory:
                self._server.wait_for_agent("s3")
                self._idle_kib = max(
                    process.private_kib for process in self._memory.processes.values())
                yield

    def prepare(self) -> None:
        """What the restores start from."""
        super().prepare()
        self._store.client.create_bucket(BUCKET)
        self._server.backup([self._medium])
        for name, put, _get in self._peers():
            run_command(put(str(self.database), f"{name}-{self._copy}"), env=self._environment)

    def promises(self) -> list[Promise]:
        return [promise for name, _put, _get in self._peers() for promise in (
            Promise("backup to S3", "capstan", name, 0.9),
            Promise("restore from S3", "capstan restore", f"{name} back", 0.9))]

    def processes(self) -> list[ProcessMemory]:
        """What the agent's program and libraries take by themselves is no matter of this job."""
        return [ProcessMemory(f"{process.name}, beyond idle",
                              process.high_water_kib - self._idle_kib, process.shared_kib)
                for process in self._memory.processes.values()]

    def contestants(self) -> list[Contestant]:
        def backup() -> dict[str, float]:
            return {"capstan: engine": self._server.backup([f"s3://{BUCKET}/new.bak"])}

        def restore() -> dict[str, float]:
            return {"capstan restore: engine": self._server.restore([self._medium], self.restored)}

        found = [Contestant("capstan", backup, reads=self.database)]
        restores = [Contestant("capstan restore", restore, reads=self.database)]
        for name, put, get in self._peers():
            found.append(self._command(name, put(str(self.database), f"{name}-new.db")))
            target = self._directory / f"{name}.restored"
            restores.append(self._command(
                f"{name} back", get(f"{name}-{self._copy}", str(target)), target))
        return found + restores

    def _command(self, name: str, command: list[str], target: Path | None = None) -> Contestant:
        def run() -> None:
            run_command(command, env=self._environment)
            if target is not None:
                run_command(["sync", str(target)])  # a restore is durable, too

        return Contestant(name, run, reads=self.database,
                          removes=[] if target is None else [target])

    def _peers(self):
        """(name, command that puts a file under a key, command that gets it) of what is there."""
        if shutil.which("rclone"):
            rclone = ["rclone", "--ignore-times", "--s3-upload-concurrency", STREAMS, "--multi-thread-streams",
                      STREAMS]
            yield ("rclone", lambda file, key: [*rclone, "copyto", file, f":s3:{BUCKET}/{key}"],
                   lambda key, file: [*rclone, "copyto", f":s3:{BUCKET}/{key}", file])
        if shutil.which("s3cmd"):
            client = self._store.client
            s3cmd = ["s3cmd", "--config=/dev/null", "--no-ssl", f"--host={self._store.host}",
                     f"--host-bucket={self._store.host}", f"--region={client.region}",
                     f"--access_key={client.access_key}", f"--secret_key={client.secret_key}",
                     "--no-progress", "--force"]
            yield ("s3cmd", lambda file, key: [*s3cmd, "put", file, f"s3://{BUCKET}/{key}"],
                   lambda key, file: [*s3cmd, "get", f"s3://{BUCKET}/{key}", file])
        if shutil.which("aws"):
            aws = ["aws", "--endpoint-url", f"http://{self._store.host}", "s3", "cp", "--quiet"]
            yield ("aws", lambda file, key: [*aws, file, f"s3://{BUCKET}/{key}"],
                   lambda key, file: [*aws, f"s3://{BUCKET}/{key}", file])
