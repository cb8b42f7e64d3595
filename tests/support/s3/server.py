#!/usr/bin/env python3
"""A real S3 server for the time of a test.

usage: server.py COMMAND [ARGUMENT...]

Runs the command beside a server of its own with one bucket, "media", and gives it the environment
that the S3 plugin reads: CAPSTAN_S3_CONFIG and AWS's names for the keys. Exit status: the command's,
or 77 if Debian's Swift is not installed (tools/setup does that).
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s3.client import S3Client  # noqa: E402

SKIPPED = 77  # as CTest knows it
BUCKET = "media"
REGION = "us-east-1"
ACCESS_KEY = "testaccesskey"
SECRET_KEY = "testsecretkey"
PORT_COUNT = 4
READY_S = 120.0  # it takes one second, on a machine that has time
# Debian's Swift belongs to Debian's Python, whichever one runs this.
SYSTEM_PYTHON = "/usr/bin/python3"
DAEMON = Path(__file__).with_name("swift_daemon.py")
_PR_SET_PDEATHSIG = 1


def configuration_text(endpoint: str, settings: dict[str, object]) -> str:
    """Of the plugin; numbers and texts."""
    every = {"endpoint": endpoint, "region": REGION, "addressing": "path", **settings}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in every.items())


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def is_installed() -> bool:
    probe = [SYSTEM_PYTHON, "-c", "import swift.common.middleware.s3api, swift.obj.server"]
    return subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0


def free_ports() -> int:
    """The first of PORT_COUNT ports in a row that nobody has at the moment."""
    for first in range(20_000 + os.getpid() * PORT_COUNT % 10_000, 32_000, PORT_COUNT):
        sockets = []
        try:
            for port in range(first, first + PORT_COUNT):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for taken in sockets:
                taken.close()
    raise RuntimeError("no free ports")


class S3Server:
    """Starts on construction; stop() or `with` ends it and removes what it kept."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="capstan-s3-"))
        self.port = free_ports()
        self.client = S3Client("127.0.0.1", self.port, REGION, ACCESS_KEY, SECRET_KEY)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        self.client.create_bucket(BUCKET)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [SYSTEM_PYTHON, str(DAEMON), str(self.directory), str(self.port), ACCESS_KEY,
                 SECRET_KEY, REGION],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        deadline = time.monotonic() + READY_S
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Swift does not start: " + (self.directory / "log").read_text())
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut of the server; start() brings it back with its objects."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def environment(self, **settings: object) -> dict[str, str]:
        """What the plugin reads; `settings` are further keys of its configuration."""
        configuration = self.directory / "s3.toml"
        configuration.write_text(configuration_text(self.endpoint, settings))
        return {"CAPSTAN_S3_CONFIG": str(configuration), "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    if not is_installed():
        print("Swift is not installed; tools/setup does that")
        return SKIPPED
    with S3Server() as server:
        return subprocess.run(sys.argv[1:], env={**os.environ, **server.environment()},
                              check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
