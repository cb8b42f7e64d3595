"""Runs PostgreSQL clusters for tests and benchmarks: the stock server, in folders of their own.

A Workshop is a folder in which clusters are made; closing it stops exactly what was started there
and removes it. Servers listen on Unix sockets in it alone. PostgreSQL refuses to run as root, so
there everything runs as the account `postgres`.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from postgres_client import Connection, DatabaseError

READY_S = 120.0  # recovery included, on a busy machine
STOP_S = 60.0
SUPERUSER = "postgres"
SUPERUSER_DATABASE = "postgres"
# Nobody listens there: it only names the socket.
PORT = 5432
_STATUS_LINE, _SHM_LINE = 7, 6  # of postmaster.pid, from 0
_PR_SET_PDEATHSIG = 1
_IPC_RMID = 0
_libc = ctypes.CDLL(None, use_errno=True)

# A test's cluster dies with its processes, never with the machine's power.
# Shared memory in files of the data directory goes with it, even after kill -9.
UNSAFE_BUT_QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "30",
                    "dynamic_shared_memory_type": "mmap"}


class PostgresError(Exception):
    """A program of PostgreSQL did not do what it should; the message has its words."""


def binaries() -> Path | None:
    """The newest installed version's folder, or the one that CAPSTAN_POSTGRES_BIN names."""
    named = os.environ.get("CAPSTAN_POSTGRES_BIN")
    if named:
        return Path(named)
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin")
             if path.parent.name.isdigit() and (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def account() -> pwd.struct_passwd:
    """Who clusters run as; KeyError if there is nobody."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def is_installed() -> bool:
    try:
        return binaries() is not None and account() is not None
    except KeyError:
        return False


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _identity() -> dict[str, object]:
    """Of subprocess: as whom. The working directory must be one that this account may enter."""
    who = account()
    options: dict[str, object] = {"cwd": "/", "stdin": subprocess.DEVNULL}
    if os.geteuid() == 0:
        options |= {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    return options


def give(path: Path) -> None:
    """Hands a new file or folder to the account of the clusters."""
    if os.geteuid() == 0:
        os.chown(path, account().pw_uid, account().pw_gid)


def spawn(command: Sequence[object], environment: dict[str, str] | None = None
          ) -> subprocess.Popen[str]:
    """Starts a command as the clusters' account; all that it says is on its standard output."""
    return subprocess.Popen(
        [str(word) for word in command], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})},
        preexec_fn=_die_with_parent, **_identity())  # type: ignore[call-overload]


def run(program: str, *arguments: object, environment: dict[str, str] | None = None,
        may_fail: bool = False, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Runs a program of PostgreSQL (or a path) as its account, to the end."""
    folder = binaries()
    assert folder is not None
    path = folder / program if (folder / program).exists() else program
    with spawn([path, *arguments], environment) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    if process.returncode != 0 and not may_fail:
        raise PostgresError(f"{program} {arguments} ended with {process.returncode}:\n{output}")
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()]
    return []


class Workshop:
    """A temporary folder of the clusters' account."""

    def __init__(self, folder: Path | None = None) -> None:
        # Short, since the path of a socket may have 107 bytes.
        self.root = Path(tempfile.mkdtemp(prefix="capstan-pg-", dir=folder or "/tmp"))
        give(self.root)
        self.root.chmod(0o755)
        self.clusters: list[Cluster] = []

    def folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(mode=0o700)
        give(path)
        return path

    def cluster(self, name: str = "main", *, wal_segment_mb: int = 16, durable: bool = False,
                initdb: Sequence[str] = (), **settings: object) -> Cluster:
        """A new one, with checksums, not yet running."""
        cluster = Cluster(self, name, self.root / name)
        run("initdb", "-D", cluster.data, "-U", SUPERUSER, "--auth=trust", "--no-sync",
            "--no-locale", "--encoding=UTF8", "--data-checksums", "--no-instructions",
            f"--wal-segsize={wal_segment_mb}", *initdb)
        cluster.configure({} if durable else UNSAFE_BUT_QUICK)
        cluster.configure(settings)
        return cluster

    def adopt(self, data: Path, name: str | None = None) -> Cluster:
        """A data directory that somebody else made, such as a restore; not yet running."""
        return Cluster(self, name or data.name, data)

    def close(self) -> None:
        for cluster in self.clusters:
            cluster.dispose()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Cluster:
    """One data directory and the server that runs on it, if it does."""

    def __init__(self, workshop: Workshop, name: str, data: Path) -> None:
        self.name = name
        self.data = data
        self.sockets = workshop.root / f"s-{name}"
        self.log = workshop.root / f"{name}.log"
        self._workshop = workshop
        self._process: subprocess.Popen[bytes] | None = None
        if not self.sockets.exists():
            workshop.folder(self.sockets.name)
        workshop.clusters.append(self)

    # --- life -----------------------------------------------------------------------------------

    def configure(self, settings: dict[str, object]) -> None:
        """Takes effect at the next start."""
        with open(self.data / "postgresql.auto.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self, wait_s: float = READY_S) -> None:
        """Returns once it takes connections; of a standby, read-only ones."""
        assert self._process is None
        folder = binaries()
        assert folder is not None
        # What a killed server left would be taken for the new one's.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [str(folder / "postgres"), "-D", str(self.data), "-k", str(self.sockets),
                 "-p", str(PORT), "-c", "listen_addresses="],
                stdout=log, stderr=log, preexec_fn=_die_with_parent,
                **_identity())  # type: ignore[call-overload]
        deadline = time.monotonic() + wait_s
        while self._pid_file_line(_STATUS_LINE) not in ("ready", "standby"):
            if self._process.poll() is not None:
                self._process = None
                raise PostgresError(f"{self.data} did not start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise PostgresError(f"{self.data} is not ready:\n{self.log_tail()}")
            time.sleep(0.005)

    def _pid_file_line(self, number: int) -> str:
        """A line of postmaster.pid; empty until it is there."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return ""
        return lines[number].strip() if len(lines) > number else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def stop(self, immediate: bool = False) -> None:
        """`immediate` leaves recovery to the next start."""
        assert self._process is not None
        process = self._process
        process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        status = process.wait(STOP_S)
        self._process = None
        if status != 0 and not immediate:
            raise PostgresError(f"{self.data} stopped with {status}:\n{self.log_tail()}")

    def kill(self) -> None:
        """kill -9 of every process, as a crash of the machine would end them."""
        assert self._process is not None
        shared_memory = self._pid_file_line(_SHM_LINE).split()
        processes = [self.pid, *children_of(self.pid)]
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(STOP_S)
        self._process = None
        deadline = time.monotonic() + STOP_S
        while any(_is_alive(pid) for pid in processes):
            if time.monotonic() > deadline:
                raise PostgresError(f"processes of {self.data} do not die")
            time.sleep(0.005)
        if len(shared_memory) == 2:
            _libc.shmctl(int(shared_memory[1]), _IPC_RMID, None)

    def restart(self) -> None:
        self.stop()
        self.start()

    def dispose(self) -> None:
        """Whatever state it is in, nothing of it runs afterwards."""
        if self.running:
            try:
                self.stop(immediate=True)
            except subprocess.TimeoutExpired:
                self.kill()

    def log_tail(self, lines: int = 30) -> str:
        with suppress(OSError):
            text = self.log.read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    # --- use ------------------------------------------------------------------------------------

    def info(self, database: str = SUPERUSER_DATABASE) -> str:
        """A connection string."""
        return f"host={self.sockets} port={PORT} user={SUPERUSER} dbname={database}"

    def environment(self) -> dict[str, str]:
        """For PostgreSQL's programs."""
        return {"PGHOST": str(self.sockets), "PGPORT": str(PORT), "PGUSER": SUPERUSER}

    def connect(self, database: str = SUPERUSER_DATABASE) -> Connection:
        return Connection(self.info(database))

    def sql(self, statement: str, database: str = SUPERUSER_DATABASE
            ) -> list[tuple[str | None, ...]]:
        with self.connect(database) as connection:
            return connection.query(statement)

    def value(self, statement: str, database: str = SUPERUSER_DATABASE) -> str:
        with self.connect(database) as connection:
            return connection.value(statement)

    def tool(self, program: str, *arguments: object, **options: object
             ) -> subprocess.CompletedProcess[str]:
        """Runs a client program against this cluster."""
        return run(program, *arguments, environment=self.environment(),
                   **options)  # type: ignore[arg-type]

    def tablespace(self, name: str) -> Path:
        """Makes one, in a folder beside the data directory."""
        path = self._workshop.folder(f"ts-{self.name}-{name}")
        self.sql(f"CREATE TABLESPACE {name} LOCATION '{path}'")
        return path

    def tablespaces(self) -> list[Path]:
        """Where they are, apart from the two in the data directory."""
        return [Path(link.readlink()) for link in (self.data / "pg_tblspc").iterdir()]

    def standby(self, name: str = "standby") -> Cluster:
        """A streaming one of this running cluster, running."""
        data = self._workshop.root / name
        mapping = [f"--tablespace-mapping={path}={path}-{name}" for path in self.tablespaces()]
        self.tool("pg_basebackup", "-D", data, "--checkpoint=fast", "--no-sync", "-R", "-X",
                  "stream", *mapping)
        standby = self._workshop.adopt(data)
        standby.start()
        return standby

    def wait_until(self, query: str, seconds: float = 60.0) -> None:
        """Until the query gives true."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(DatabaseError):
                if self.value(query) == "t":
                    return
            if time.monotonic() > deadline:
                raise PostgresError(f"waited {seconds} s for {query}\n{self.log_tail()}")
            time.sleep(0.01)

    def wait_until_primary(self) -> None:
        """A recovery ends in a promotion, which is over a little later than it is ready."""
        self.wait_until("SELECT NOT pg_is_in_recovery()")

    # --- is it sound? ---------------------------------------------------------------------------

    def amcheck(self) -> None:
        """Structure of every table and index of all databases, heap against index."""
        self.tool("pg_amcheck", "--all", "--install-missing", "--heapallindexed", "--jobs=2")

    def checksums(self) -> None:
        """Of every page; the server must not run."""
        assert not self.running
        run("pg_checksums", "--check", "-D", self.data)

    def control(self) -> dict[str, str]:
        """What pg_controldata says."""
        text = run("pg_controldata", "-D", self.data, environment={"LC_ALL": "C"}).stdout
        return {match[1].strip(): match[2].strip()
                for match in re.finditer(r"^([^:]+):(.*)$", text, re.MULTILINE)}


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
