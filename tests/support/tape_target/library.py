"""A tape library that is somebody else's: Debian's tgt, two drives and a changer over iSCSI, on loopback.

usage: library.py COMMAND...

Runs COMMAND with what TapeLibrary.environment says in its environment, and in place of {TAPE_DRIVE}
and so on in its arguments: URLs, and addresses of elements. Of the two drives, the second writes
nothing. Cartridges are files in a temporary directory. Exits with 77 if tgt is not installed;
tools/setup does that.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SKIPPED = 77  # as CTest knows it
TARGET = "iqn.2024-01.test:library"
DRIVES = 2
CARTRIDGES = ("A00001L8", "A00002L8", "A00003L8")
FIRST_DRIVE, PICKER, FIRST_PORT, FIRST_SLOT = 1, 100, 900, 1001
READY_S = 30.0  # it takes a tenth of a second, on a machine that has time
PORT_ATTEMPTS = 20
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def is_installed() -> bool:
    return all(program(name) for name in ("tgtd", "tgtadm", "tgtimg"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TapeLibrary:
    """Starts on construction; stop() or `with` ends it and removes what it kept."""

    def __init__(self, cartridge_mib: int = 64) -> None:
        # Short, because the name of a socket in it must be.
        self.directory = Path(tempfile.mkdtemp(prefix="capstan-tape-", dir="/tmp"))
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        try:
            self.make_cartridges(cartridge_mib)
            self.start()
            self.make_library()
        except BaseException:
            self.stop()
            raise

    @property
    def environment(self) -> dict[str, str]:
        base = f"iscsi://127.0.0.1:{self.port}/{TARGET}"
        assert self.process is not None
        return {"TAPE_DRIVE": f"{base}/1", "TAPE_ELEMENT": str(FIRST_DRIVE),
                "TAPE_PROTECTED_DRIVE": f"{base}/2",
                "TAPE_PROTECTED_ELEMENT": str(FIRST_DRIVE + 1),
                "TAPE_CHANGER": f"{base}/{DRIVES + 1}", "TAPE_SLOT": str(FIRST_SLOT),
                "TAPE_TARGET_PID": str(self.process.pid)}

    def make_cartridges(self, cartridge_mib: int) -> None:
        (self.directory / "media").mkdir()
        for name, barcode, mib in [("empty", "EMPTY", 1),
                                   *((f"media/{c}", c, cartridge_mib) for c in CARTRIDGES)]:
            subprocess.run([program("tgtimg"), "--op", "new", "--device-type", "tape", "--barcode",
                            barcode, "--size", str(mib), "--type", "data", "--file",
                            str(self.directory / name), "--thin-provisioning"],
                           check=True, stdout=subprocess.DEVNULL)
        (self.directory / "media" / "changer").write_bytes(bytes(1024))

    def start(self) -> None:
        """tgtd takes every address there is when the port that it shall have is taken: then again."""
        for _ in range(PORT_ATTEMPTS):
            self.port = free_port()
            with open(self.directory / "log", "ab") as log:
                self.process = subprocess.Popen(
                    [program("tgtd"), "-f", "-C", "0", "-t", "2", "-p",
                     str(self.directory / "pid"), "--iscsi", f"portal=127.0.0.1:{self.port}"],
                    env=self.control_environment(), stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
            self.await_answer()
            portals = self.control("--mode", "portal", "--op", "show").split("\n")
            if [line for line in portals if line] == [f"Portal: 127.0.0.1:{self.port},1"]:
                return
            self.kill()
        raise RuntimeError("tgtd does not get a port of its own")

    def await_answer(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                self.control("--mode", "system", "--op", "show")
                return
            except subprocess.CalledProcessError:
                assert self.process is not None
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        "tgtd does not start: " + (self.directory / "log").read_text()) from None
                time.sleep(0.02)

    def control_environment(self) -> dict[str, str]:
        return {**os.environ, "TGT_IPC_SOCKET": str(self.directory / "control")}

    def control(self, *arguments: str) -> str:
        return subprocess.run([program("tgtadm"), "-C", "0", "--lld", "iscsi", *arguments],
                              env=self.control_environment(), check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def make_library(self) -> None:
        unit = ("--mode", "logicalunit", "--tid", "1", "--lun")

        def update(lun: int, parameters: str) -> None:
            self.control(*unit, str(lun), "--op", "update", "--params", parameters)

        self.control("--mode", "target", "--op", "new", "--tid", "1", "-T", TARGET)
        for lun in range(1, DRIVES + 1):
            self.control(*unit, str(lun), "--op", "new", "-b", str(self.directory / "empty"),
                         "--device-type", "tape")
            update(lun, f"vendor_id=TEST,product_id=DRIVE,scsi_sn=D{lun},removable=1,sense_format=0,"
                        "online=0")
        update(DRIVES, "readonly=1")
        changer = DRIVES + 1
        self.control(*unit, str(changer), "--op", "new", "-b",
                     str(self.directory / "media" / "changer"), "--device-type", "changer")
        update(changer, "vendor_id=TEST,product_id=LIBRARY,scsi_sn=L1,removable=1,"
                        f"media_home={self.directory / 'media'}")
        update(changer, f"element_type=4,start_address={FIRST_DRIVE},quantity={DRIVES}")
        for lun in range(1, DRIVES + 1):
            update(changer, f"element_type=4,address={FIRST_DRIVE + lun - 1},tid=1,lun={lun}")
        update(changer, f"element_type=1,start_address={PICKER},quantity=1")
        update(changer, f"element_type=3,start_address={FIRST_PORT},quantity=1")
        update(changer, f"element_type=2,start_address={FIRST_SLOT},quantity={len(CARTRIDGES) + 1}")
        for slot, barcode in enumerate(CARTRIDGES, FIRST_SLOT):
            update(changer, f"element_type=2,address={slot},barcode={barcode},sides=1")
        # Whoever does not answer pings for twenty seconds is let go of.
        for name, value in (("nop_interval", "1"), ("nop_count", "20")):
            self.control("--mode", "target", "--op", "update", "--tid", "1", "--name", name,
                         "--value", value)
        self.control("--mode", "target", "--op", "bind", "--tid", "1", "-I", "127.0.0.1")

    def kill(self) -> None:
        """It ignores SIGTERM, and has nothing to lose."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> TapeLibrary:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    if not is_installed():
        print("tgt is not installed; tools/setup does that")
        return SKIPPED
    with TapeLibrary() as library:
        values = library.environment
        command = [argument.format_map(values) for argument in sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, **values}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
