"""What an operator sees of agents and devices, and can do to them: limits of the rate, the story of
an agent, the measuring of targets, options of plugins, metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.request

from harness import CapstanServer, Programs, ServerTestCase, disks, main, wait_for

MIB = 1 << 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Rate(ServerTestCase):
    """MAXRATE: accounted for, not timed: a lower bound of the time follows from the bytes."""

    RATE = 8  # MiB/s

    def test_job_keeps_its_limit_over_all_devices(self) -> None:
        self.server.next_database(size=16 * MIB)
        begin = time.monotonic()
        outcome = self.assert_done(self.server.run(
            "backup", "source", "--to", self.server.media / "a.bak",
            "--to", self.server.media / "b.bak", "--format", "--max-rate", self.RATE,
            "--no-verify", "--max-transfer-size", "64K"))
        seconds = time.monotonic() - begin
        size = sum((self.server.media / name).stat().st_size for name in ("a.bak", "b.bak"))
        # 100 ms of credit for the limit; one transfer per device is on its way in front of it.
        self.assertGreaterEqual(seconds, (size - 2 * 65536) / (self.RATE * MIB) - 0.15,
                                outcome.describe())
        self.assert_done(self.server.verify(self.server.media / "a.bak",
                                            self.server.media / "b.bak"))

    def test_throttling_is_shown_while_it_lasts(self) -> None:
        self.server.next_database(size=8 * MIB)
        job = self.server.popen("exec", f"BACKUP DATABASE [source] TO "
                                f"{disks(self.server.media / 'slow.bak')} WITH MAXRATE = 1")

        def throttled() -> dict[str, object] | None:
            rows = self.server.query(
                "SELECT session_id, waits_for, throttled_ms, requests, average_latency_ms,"
                " max_latency_ms, retries FROM sys.dm_backup_devices")
            return next((row for row in rows if int(str(row["throttled_ms"] or 0)) > 0), None)

        row = wait_for(throttled, "a device that is held back")
        assert isinstance(row, dict)
        self.assertEqual(row["waits_for"], "the rate limit")
        self.assertGreater(int(str(row["requests"])), 0)
        self.assertGreaterEqual(float(str(row["max_latency_ms"])),
                                float(str(row["average_latency_ms"])))
        self.assertEqual(int(str(row["retries"])), 0)
        listed = self.assert_done(self.server.run("list", "devices")).stdout
        self.assertIn("waits for the rate limit", listed)
        self.assertIn("held back for", listed)
        self.assertLessEqual(max(len(line) for line in listed.splitlines()), 80, listed)
        # A cancelled job does not wait until what is held back has been paid for.
        begin = time.monotonic()
        self.assert_done(self.server.exec(f"KILL {row['session_id']}"))
        job.communicate(timeout=20)
        self.assertLess(time.monotonic() - begin, 5)
        self.assert_works()

    def test_wrong_limits_are_refused(self) -> None:
        self.server.next_database()
        target = self.server.media / "x.bak"
        for options, number in (("MAXRATE = 0", 3250), ("MAXRATE = 9999999", 3250),
                                ("MAXRATE = 1, MAXRATE = 2", 3031)):
            outcome = self.server.backup("source", target, options=options)
            self.assertEqual(outcome.exit_code, 1, options)
            self.assertEqual(outcome.numbers[0], number, outcome.describe())
        self.assertFalse(target.exists())
        outcome = self.server.exec("BACKUP DATABASE [source] TO VIRTUAL_DEVICE = 'v'"
                                   " WITH MAXRATE = 5")
        self.assertEqual(outcome.numbers[0], 3032, outcome.describe())


class AgentStory(ServerTestCase):
    settings = {"agent": [{"plugin": "disk"},
                          {"name": "broken", "plugin": "disk", "options": {"colour": "blue"}}]}

    def agent(self, name: str) -> dict[str, object]:
        rows = self.server.query("SELECT * FROM sys.dm_backup_agents")
        return next((row for row in rows if row["agent_name"] == name), {})

    def test_killed_agent_tells_how_it_ended(self) -> None:
        before = self.agent("disk")
        self.assertEqual(before["state"], "Idle")
        self.assertEqual(before["restarts"], 0)
        self.assertIsNone(before["last_exit"])
        self.assertEqual(before["started_by"], "server")
        self.assertIn("write", str(before["features"]))
        self.assertIn("resume", str(before["features"]))
        self.assertIn("random access", str(before["features"]))

        os.kill(int(str(before["pid"])), signal.SIGKILL)

        def back() -> bool:
            row = self.agent("disk")
            return row["attached_at"] is not None and row["pid"] not in (None, before["pid"])

        wait_for(back, "the agent's return")
        after = self.agent("disk")
        self.assertEqual(after["restarts"], 1)
        self.assertRegex(str(after["last_exit"]), r"^signal 9 \(Killed\) \(\d+ s ago\)$")
        listed = self.assert_done(self.server.run("list", "agents")).stdout
        self.assertIn("Agent 'disk': Idle", listed)
        self.assertIn("1 restart", listed)
        self.assertIn("Last exit: signal 9 (Killed)", listed)
        self.assertLessEqual(max(len(line) for line in listed.splitlines()), 80, listed)
        self.assert_works_after_story()

    def assert_works_after_story(self) -> None:
        self.server.next_database()
        self.assert_works()

    def test_agent_that_cannot_start_says_why(self) -> None:
        row = wait_for(lambda: (r := self.agent("broken")) and r.get("last_exit") and r,
                       "the broken agent's end")
        assert isinstance(row, dict)
        self.assertRegex(str(row["last_exit"]),
                         r"^exit 1: plugin 'disk' has no option 'colour'.* \(\d+ s ago\)$")
        self.assertRegex(str(row["state"]), r"^(Restarting|Restarting in \d+ s|Starting)$")
        # What an agent says still reaches the server's own log.
        self.assertIn("has no option 'colour'", self.server.console.read_text())

    def test_hung_agent_is_killed_and_the_story_says_so(self) -> None:
        pid = int(str(self.agent("disk")["pid"]))
        os.kill(pid, signal.SIGSTOP)
        row = wait_for(lambda: (r := self.agent("disk")) and r["last_exit"] and r, "its end")
        assert isinstance(row, dict)
        self.assertRegex(str(row["last_exit"]), r"^hung: killed \(\d+ s ago\)$")

    def test_agent_that_somebody_else_started(self) -> None:
        process = subprocess.Popen(
            [Programs.path("capstan-agent"), "--server", f"unix:{self.server.socket}",
             "--plugin", "disk", "--name", "mine"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # Two agents of one class cannot be attached: the second one is refused, and says so.
        _, errors = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 2, errors)
        self.assertEqual(self.agent("mine"), {})


class ForeignAgent(ServerTestCase):
    settings = {"start_agents": False}

    def test_is_shown_as_such_and_remembered(self) -> None:
        process = subprocess.Popen(
            [Programs.path("capstan-agent"), "--server", f"unix:{self.server.socket}",
             "--plugin", "disk", "--name", "mine", "--max-rate", "500", "--retry-for", "1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        query = "SELECT agent_name, state, started_by, restarts, last_exit FROM sys.dm_backup_agents"
        try:
            wait_for(lambda: self.server.query(query), "the agent")
            row = self.server.query(query)[0]
            self.assertEqual((row["started_by"], row["state"]), ("somebody else", "Idle"))
            self.assertIsNone(row["restarts"])
            self.server.next_database()
            self.assert_works()
        finally:
            process.kill()
            process.wait()
        wait_for(lambda: self.server.query(query)[0]["state"] == "Gone", "its end to be noticed")
        self.assertRegex(str(self.server.query(query)[0]["last_exit"]), r"\(\d+ s ago\)$")


class Bench(ServerTestCase):
    def test_measures_a_folder_and_leaves_nothing(self) -> None:
        keep = self.server.media / "keep.bak"
        keep.write_bytes(b"not to be touched")
        outcome = self.assert_done(self.server.run(
            "device", "bench", self.server.media, "--size", "32M", "--json"))
        steps = {row["step"]: row for row in json.loads(outcome.stdout)}
        self.assertEqual(list(steps), ["write", "flush", "commit", "read"])
        for name in ("write", "read"):
            step = steps[name]
            self.assertEqual((step["bytes"], step["requests"]), (32 * MIB, 32))
            self.assertGreater(step["bytes_per_second"], 0)
            self.assertAlmostEqual(step["bytes_per_second"] * step["seconds"], 32 * MIB,
                                   delta=step["bytes_per_second"] * 0.001 + 1)
            self.assertLessEqual(step["average_latency_ms"], step["max_latency_ms"])
            self.assertTrue(0 <= step["waits_for_device"] <= 100)
            self.assertTrue(0 <= step["device_idle"] <= 100)
        self.assertEqual(os.listdir(self.server.media), ["keep.bak"])
        self.assertEqual(keep.read_bytes(), b"not to be touched")

        table = self.assert_done(self.server.run(
            "device", "bench", self.server.media, "--size", "1M", "--transfer-size", "64K",
            "--no-read")).stdout
        self.assertNotIn("read", table)
        self.assertLessEqual(max(len(line) for line in table.splitlines()), 80, table)
        self.assertEqual(os.listdir(self.server.media), ["keep.bak"])
        jobs = self.server.query("SELECT command, status FROM msdb.dbo.backupjobhistory")
        self.assertIn("DEVICE BENCH", [job["command"] for job in jobs])

    def test_refuses_what_it_could_harm(self) -> None:
        taken = self.server.media / "a.bak"
        taken.write_bytes(b"mine")
        for target in (taken, self.server.media / "missing"):
            outcome = self.server.run("device", "bench", target, "--size", "1M")
            self.assertEqual(outcome.exit_code, 1)
            self.assertEqual(outcome.numbers, [3217], outcome.describe())
            self.assertIn("is no folder", outcome.stderr)
        self.assertEqual(taken.read_bytes(), b"mine")
        for arguments in (["tape:t"], ["vdi:v"], [self.server.media, "--size", "1000"]):
            self.assertEqual(self.server.run("device", "bench", *arguments).exit_code, 2, arguments)
        for arguments in ("@class = N'TAPE'", "@size_mb = 0", "@transfer_size = 100000",
                          "@transfer_size = 65537", "@read = 2"):
            outcome = self.server.exec(f"EXEC sp_device_bench @target = N'/tmp', {arguments}")
            self.assertEqual(outcome.numbers, [3217], outcome.describe())

    def test_failure_leaves_nothing(self) -> None:
        if os.geteuid() == 0 and not shutil.which("prlimit"):
            self.skipTest("prlimit is missing")
        # The agent's files may grow to 4 MiB: the ninth transfer fails.
        subprocess.run(["prlimit", "--pid", str(self.server.agent_pid()), f"--fsize={4 * MIB}"],
                       check=True)
        outcome = self.server.run("device", "bench", self.server.media, "--size", "16M",
                                  "--transfer-size", "512K")
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertEqual(outcome.numbers, [3202, 3013], outcome.describe())
        self.assertEqual(os.listdir(self.server.media), [])


class Metrics(ServerTestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.settings = {"metrics_listen": f"127.0.0.1:{self.port}"}
        super().setUp()

    def scrape(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def values(self) -> dict[str, float]:
        found = {}
        for line in self.scrape().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    def value(self, name: str, **labels: str) -> float:
        for key, value in self.values().items():
            if re.match(rf"{name}(\{{|$)", key) and all(
                    f'{label}="{text}"' in key for label, text in labels.items()):
                return value
        return 0.0

    def test_promtool_finds_nothing_to_complain_about(self) -> None:
        promtool = os.environ.get("CAPSTAN_PROMTOOL") or shutil.which("promtool")
        if promtool is None:
            self.skipTest("promtool is missing: tools/setup installs Debian's prometheus")
        self.server.next_database()
        self.assert_works()
        self.server.backup("nothing", self.server.media / "x.bak")
        text = self.scrape()
        checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True,
                                 capture_output=True, timeout=60)
        self.assertEqual((checked.returncode, checked.stderr, checked.stdout), (0, "", ""), text)

    def test_values_move_during_a_backup(self) -> None:
        self.server.next_database(size=6 * MIB)
        self.assertEqual(self.value("capstan_agent_up", agent="disk"), 1)
        self.assertEqual(self.value("capstan_jobs_total", kind="backup"), 0)
        self.assertIn('capstan_build_info{version="', self.scrape())
        self.assertGreater(self.value("process_resident_memory_bytes"), MIB)
        self.assertEqual(self.value("capstan_writer_state", state="Stable"), 1)
        job = self.server.popen("exec", f"BACKUP DATABASE [source] TO "
                                f"{disks(self.server.media / 'slow.bak')}"
                                " WITH MAXRATE = 2, MAXTRANSFERSIZE = 65536")

        def moved() -> float:
            return self.value("capstan_device_bytes_total", agent="disk", direction="write")

        first = wait_for(moved, "bytes")
        self.assertEqual(self.value("capstan_jobs_running", kind="backup"), 1)
        wait_for(lambda: moved() > float(str(first)), "more bytes")
        wait_for(lambda: self.value("capstan_device_wait_seconds_total", stage="throttle"),
                 "time that was held back")
        stdout, stderr = job.communicate(timeout=60)
        self.assertEqual(job.returncode, 0, stdout + stderr)
        self.assertEqual(self.value("capstan_jobs_total", kind="backup", outcome="succeeded"), 1)
        self.assertEqual(self.value("capstan_job_duration_seconds_count", kind="backup"), 1)
        self.assertEqual(self.value("capstan_jobs_running", kind="backup"), 0)
        # Every byte is counted once, whatever its moment was.
        self.assertGreaterEqual(moved(), (self.server.media / "slow.bak").stat().st_size)
        self.assertEqual(self.value("capstan_device_throughput_bytes_per_second", agent="disk"), 0)

        self.assertEqual(self.server.backup("nothing", self.server.media / "y.bak").exit_code, 1)
        self.assertEqual(self.value("capstan_errors_total", number="911"), 1)
        self.assertEqual(self.value("capstan_jobs_total", kind="backup", outcome="failed"), 1)
        os.kill(self.server.agent_pid(), signal.SIGKILL)
        wait_for(lambda: self.value("capstan_agent_restarts_total", agent="disk") == 1, "a restart")
        wait_for(lambda: self.value("capstan_agent_up", agent="disk") == 1, "its return")

    def test_many_scrapes_at_once(self) -> None:
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(self.scrape()))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len([text for text in answers if "capstan_build_info" in text]), 8)


class MetricsPort(unittest.TestCase):
    def test_port_that_is_taken_is_named(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            server = CapstanServer(start=False, metrics_listen=address)
            self.addCleanup(shutil.rmtree, server.root, ignore_errors=True)
            with self.assertRaises(AssertionError):
                server.start()
            assert server.process is not None and server.process.stdout is not None
            server.process.stdout.close()
            self.assertIn(f"unable to listen on '{address}' for metrics", server.log_tail())


if __name__ == "__main__":
    main()
