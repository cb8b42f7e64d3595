"""sqlcmd as programs start it, and logins with passwords."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import time
import unittest
from pathlib import Path

from harness import (PATIENCE_S, PROMPT_S, CapstanServer, Outcome, Programs, ServerTestCase, disks,
                     main, parse_messages, wait_for)


def read_some(terminal: int) -> str:
    """Empty at the end: the program behind the terminal has gone."""
    try:
        return os.read(terminal, 4096).decode()
    except OSError:
        return ""


def read_until(test: unittest.TestCase, terminal: int, end: str) -> str:
    text = ""
    while not text.endswith(end):
        part = read_some(terminal)
        test.assertTrue(part, f"ended after {text!r}")
        text += part
    return text


class SqlcmdTestCase(ServerTestCase):
    def sqlcmd(self, *arguments: object, stdin: str | None = None, timeout: float = PATIENCE_S,
               **environment: str) -> Outcome:
        """With the test's server as the local one. Messages are on standard output."""
        begin = time.monotonic()
        process = subprocess.run(
            [Programs.path("sqlcmd"), *(str(argument) for argument in arguments)], text=True,
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True, timeout=timeout, start_new_session=True,
            env={**os.environ, "CAPSTAN_SERVER": f"unix:{self.server.socket}", **environment})
        return Outcome(process.returncode, process.stdout, process.stderr,
                       time.monotonic() - begin)


class Statements(SqlcmdTestCase):
    """One local server that asks for no password."""

    settings = {"server_name": "SALES", "virtual_device_wait_s": 30}
    # Waits for a virtual device that never comes.
    WAITS = "BACKUP DATABASE source TO VIRTUAL_DEVICE = 'nobody'"

    def test_what_vdi_programs_start(self) -> None:
        """S4-52: popen of this very line, of which nobody reads but standard output."""
        self.server.next_database()
        medium = self.server.media / "a.bak"
        outcome = self.sqlcmd("-U", "u", "-P", "p", "-S", ".", "-Q",
                              f"BACKUP DATABASE source TO {disks(medium)} ")
        self.assertEqual((outcome.exit_code, outcome.stderr), (0, ""), outcome.describe())
        self.assertRegex(outcome.stdout, r"BACKUP DATABASE successfully processed \d+ pages in ")
        self.assertNotIn("Msg ", outcome.stdout)
        rows = self.server.query("SELECT user_name FROM msdb.dbo.backupset")
        self.assertEqual(rows, [{"user_name": "u"}])

    def test_a_refused_backup_ends_with_3013_on_standard_output(self) -> None:
        statement = f"BACKUP DATABASE nowhere TO {disks(self.server.media / 'a.bak')}"
        outcome = self.sqlcmd("-S", ".", "-Q", statement)
        self.assertEqual((outcome.exit_code, outcome.stderr), (0, ""), outcome.describe())
        self.assertEqual([m.number for m in parse_messages(outcome.stdout)], [911, 3013])
        self.assertRegex(outcome.stdout, r"(?m)^Msg 911, Level 16, State 1, Server SALES, Line 1$")
        self.assertTrue(outcome.stdout.endswith(
            "Msg 3013, Level 16, State 1, Server SALES, Line 1\n"
            "BACKUP DATABASE is terminating abnormally.\n"), outcome.stdout)

    def test_b_makes_a_failed_batch_an_exit_status(self) -> None:
        two = "NONSENSE\nGO\nPRINT 'after'\n"
        goes_on = self.sqlcmd(stdin=two)
        self.assertEqual(goes_on.exit_code, 0, goes_on.describe())
        self.assertIn("\nafter\n", goes_on.stdout)
        stops = self.sqlcmd("-b", stdin=two)
        self.assertEqual(stops.exit_code, 1, stops.describe())
        self.assertNotIn("after", stops.stdout)
        self.assertEqual(self.sqlcmd("-b", "-V17", stdin=two).exit_code, 0)
        self.assertEqual(self.sqlcmd("-V15", stdin=two).exit_code, 16)  # 2812's

    def test_the_layout_of_a_result(self) -> None:
        query = "SELECT name, database_id FROM sys.databases"
        self.server.next_database()
        whole = self.sqlcmd("-Q", query).stdout.splitlines()
        self.assertEqual(whole[0], "name" + " " * 124 + " database_id")
        self.assertEqual(whole[1], "-" * 128 + " " + "-" * 11)
        self.assertEqual(whole[2], "source" + " " * 122 + " " + "5".rjust(11))
        self.assertEqual(whole[3:], ["", "(1 rows affected)"])
        narrow = self.sqlcmd("-h-1", "-s", "|", "-W", "-Q", query).stdout
        self.assertEqual(narrow, "source|5\n\n(1 rows affected)\n")

    def test_files_go_variables_and_output(self) -> None:
        one, two, out = (self.server.root / name for name in ("1.sql", "2.sql", "out"))
        one.write_text("PRINT '$(word)'\nGO 3\n:r " + str(two) + "\n", encoding="utf-8")
        two.write_text("PRINT 'two'\nGO\nQUIT\nPRINT 'never'\n", encoding="utf-8")
        outcome = self.sqlcmd("-i", one, "-o", out, "-v", "word=one")
        self.assertEqual((outcome.exit_code, outcome.stdout, outcome.stderr), (0, "", ""))
        self.assertEqual(out.read_text(encoding="utf-8"), "one\none\none\ntwo\n")
        missing = self.sqlcmd("-i", self.server.root / "none.sql")
        self.assertEqual(missing.exit_code, 1)
        self.assertIn("Invalid filename", missing.stderr)
        undefined = self.sqlcmd("-Q", "PRINT '$(nothing_of_that_name)'")
        self.assertEqual(undefined.exit_code, 1)
        self.assertIn("scripting variable not defined", undefined.stderr)
        self.assertEqual(self.sqlcmd("-x", "-Q", "PRINT '$(a)'").stdout, "$(a)\n")

    def test_wrong_usage(self) -> None:
        outcome = self.sqlcmd("-9")
        self.assertEqual((outcome.exit_code, outcome.stderr),
                         (1, "Sqlcmd: '-9': Unknown Option. Enter '-?' for help.\n"))
        self.assertEqual(self.sqlcmd("-?").exit_code, 0)
        instance = self.sqlcmd("-S", ".\\X", "-Q", "PRINT 1")
        self.assertEqual(instance.exit_code, 1)
        self.assertIn("there is no named instance 'X'", instance.stderr)

    def test_no_server(self) -> None:
        nowhere = self.server.root / "none.sock"
        for stdin in (None, "PRINT 1\n"):
            query = ["-Q", "PRINT 1"] if stdin is None else []
            outcome = self.sqlcmd("-S", f"unix:{nowhere}", *query, stdin=stdin)
            self.assertEqual((outcome.exit_code, outcome.stdout), (1, ""), outcome.describe())
            self.assertIn("Sqlcmd: Error: Capstan client : unable to reach capstand", outcome.stderr)

    def test_it_ends_promptly_whatever_its_standard_input_is(self) -> None:
        """A program that popens it reads to the end of its output and waits for no key."""
        read, write = os.pipe()  # open, and silent for ever
        try:
            command = [Programs.path("sqlcmd"), "-S", f"unix:{self.server.socket}", "-Q", "PRINT 'x'"]
            for options in ({"stdin": read}, {"stdin": subprocess.DEVNULL},
                            {"preexec_fn": lambda: os.close(0)}):
                begin = time.monotonic()
                process = subprocess.run(command, capture_output=True, text=True,
                                         timeout=PATIENCE_S, **options)
                self.assertEqual((process.returncode, process.stdout), (0, "x\n"), process.stderr)
                self.assertLess(time.monotonic() - begin, PROMPT_S)
        finally:
            os.close(read)
            os.close(write)

    def test_a_start_and_a_round_trip_are_quick(self) -> None:
        """Some 20 ms of processor time and as much of waiting; a machine at work adds to both."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs = [self.sqlcmd("-Q", "SELECT name FROM sys.databases").seconds
                for _ in range(10)]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        self.assertLess(spent / len(runs), 0.1)
        self.assertLess(min(runs), 1.0)

    def test_ctrl_c_cancels_the_statement(self) -> None:
        self.server.next_database()
        process = self.waiting_backup()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 1, stdout + stderr)
        self.assertIn("terminated because the user pressed CTRL+C", stderr)
        wait_for(lambda: not self.server.running_jobs(), "the end of the cancelled job")

    def test_t_ends_a_statement_that_takes_too_long(self) -> None:
        self.server.next_database()
        outcome = self.sqlcmd("-b", "-t1", "-Q", self.WAITS)
        self.assertEqual((outcome.exit_code, outcome.stderr), (1, "Timeout expired\n"))
        wait_for(lambda: not self.server.running_jobs(), "the end of the job that took too long")

    def waiting_backup(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [Programs.path("sqlcmd"), "-S", f"unix:{self.server.socket}", "-Q", self.WAITS],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(self.server.running_jobs, "the job that waits")
        return process


class Terminal(SqlcmdTestCase):
    """Somebody types."""

    settings = {"start_agents": False}

    def test_prompts_batches_and_quit(self) -> None:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(Programs.path("sqlcmd"), ["sqlcmd", "-S", f"unix:{self.server.socket}"])
        try:
            screen = read_until(self, terminal, "1> ")
            os.write(terminal, b"PRINT 'a' +\n")
            screen += read_until(self, terminal, "2> ")
            os.write(terminal, b"'b'\n")
            screen += read_until(self, terminal, "3> ")
            os.write(terminal, b"GO\n")
            screen += read_until(self, terminal, "1> ")
            self.assertIn("\r\nab\r\n", screen)
            os.write(terminal, b"QUIT\n")
            _, status = os.waitpid(pid, 0)
            self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        finally:
            os.close(terminal)


class Logins(SqlcmdTestCase):
    """A server that asks for passwords."""

    settings = {"authentication": "password", "start_agents": False}

    def setUp(self) -> None:
        super().setUp()
        self.add("operator", "it's secret")

    def add(self, name: str, password: str) -> None:
        path = self.server.root / "password"
        path.write_text(password + "\n", encoding="utf-8")
        self.assert_done(self.server.run("login", "add", name, "--password-file", path))

    def capstan(self, *arguments: str, **environment: str) -> Outcome:
        """By the entrance that everybody takes."""
        begin = time.monotonic()
        process = subprocess.run(
            [Programs.path("capstan"), "--server", f"unix:{self.server.socket}", *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
            start_new_session=True, env={**os.environ, **environment})
        return Outcome(process.returncode, process.stdout, process.stderr,
                       time.monotonic() - begin)

    def assert_refused(self, outcome: Outcome, user: str) -> None:
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        messages = parse_messages(outcome.stdout + outcome.stderr)
        self.assertEqual([(m.number, m.severity, m.state, m.text) for m in messages],
                         [(18456, 14, 1, f"Login failed for user '{user}'.")], outcome.describe())

    def test_the_right_password_opens(self) -> None:
        outcome = self.sqlcmd("-U", "operator", "-P", "it's secret", "-Q", "PRINT 'in'")
        self.assertEqual((outcome.exit_code, outcome.stdout), (0, "in\n"), outcome.describe())
        outcome = self.sqlcmd("-Q", "PRINT 'in'", SQLCMDUSER="operator",
                              SQLCMDPASSWORD="it's secret")
        self.assertEqual(outcome.stdout, "in\n", outcome.describe())
        outcome = self.capstan("--user", "operator", "exec", "PRINT 'in'",
                               CAPSTAN_PASSWORD="it's secret")
        self.assertEqual((outcome.exit_code, outcome.stdout), (0, "in\n"), outcome.describe())

    def test_a_wrong_one_is_18456_before_anything_is_run(self) -> None:
        medium = self.server.media / "a.bak"
        self.server.next_database()
        statement = f"BACKUP DATABASE source TO {disks(medium)}"
        for user, password in (("operator", "its secret"), ("operator", ""), ("nobody", "x")):
            self.assert_refused(
                self.sqlcmd("-U", user, "-P", password, "-S", ".", "-Q", statement), user)
        self.assert_refused(self.capstan("--user", "operator", "exec", statement,
                                         CAPSTAN_PASSWORD="x"), "operator")
        self.assertEqual(self.capstan("exec", statement).exit_code, 1)
        self.assertFalse(medium.exists())
        log = self.server.errorlog.read_text(encoding="utf-8")
        self.assertRegex(log, r" Logon +Error: 18456, Severity: 14, State: 8\.\n")
        self.assertRegex(log, r"Login failed for user 'nobody'\. Reason: Could not find a login")

    def test_logins_are_listed_changed_and_removed(self) -> None:
        self.add("other", "1")
        listed = self.server.query("SELECT name, type_desc FROM sys.sql_logins ORDER BY name")
        self.assertEqual(listed, [{"name": "operator", "type_desc": "SQL_LOGIN"},
                                  {"name": "other", "type_desc": "SQL_LOGIN"}])
        changed = self.sqlcmd("-U", "operator", "-P", "it's secret", "-b", "-Q",
                              "ALTER LOGIN operator WITH PASSWORD = N'two'")
        self.assertEqual(changed.exit_code, 0, changed.describe())
        self.assert_refused(self.capstan("--user", "operator", "login", "list",
                                         CAPSTAN_PASSWORD="it's secret"), "operator")
        self.assertIn("other", self.capstan("--user", "operator", "login", "list",
                                            CAPSTAN_PASSWORD="two").stdout)
        self.assert_done(self.server.run("login", "remove", "operator"))
        self.assert_refused(self.capstan("--user", "operator", "login", "list",
                                         CAPSTAN_PASSWORD="two"), "operator")
        self.assert_error(self.server.run("login", "remove", "operator"), 15151, "'operator'",
                          terminated=None)

    def test_logins_outlive_the_server_and_are_nowhere_in_clear(self) -> None:
        self.assertEqual(self.server.terminate(), 0)
        self.server.start()
        outcome = self.sqlcmd("-U", "operator", "-P", "it's secret", "-Q", "PRINT 'in'")
        self.assertEqual(outcome.stdout, "in\n", outcome.describe())
        self.assertEqual((self.server.data / "logins").stat().st_mode & 0o777, 0o600)
        for path in [self.server.console, *self.server.data.rglob("*")]:
            if path.is_file():
                self.assertNotIn(b"secret", path.read_bytes(), str(path))

    def test_sqlcmd_hides_the_password_of_its_arguments(self) -> None:
        process = subprocess.Popen(
            [Programs.path("sqlcmd"), "-U", "operator", "-P", "it's secret", "-S",
             f"unix:{self.server.socket}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("PRINT 'in'\nGO\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), "in\n")
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.communicate(timeout=PATIENCE_S)
        self.assertNotIn(b"secret", shown)
        self.assertIn(b"operator", shown)

    def test_a_terminal_is_asked_and_does_not_show_the_password(self) -> None:
        for typed, status in ((b"it's secret\n", 0), (b"\x03", 1)):
            pid, terminal = pty.fork()
            if pid == 0:
                os.execv(Programs.path("sqlcmd"), ["sqlcmd", "-U", "operator", "-S",
                                                   f"unix:{self.server.socket}", "-Q", "PRINT 'in'"])
            try:
                screen = read_until(self, terminal, "Password: ")
                os.write(terminal, typed)
                while (part := read_some(terminal)):
                    screen += part
                _, result = os.waitpid(pid, 0)
                self.assertEqual(os.waitstatus_to_exitcode(result), status, screen)
                self.assertNotIn("secret", screen)
                self.assertEqual("\r\nin\r\n" in screen, status == 0, screen)
            finally:
                os.close(terminal)

    def test_only_the_owner_reaches_the_entrance_without_a_password(self) -> None:
        self.assertEqual(self.server.own_socket.parent.stat().st_mode & 0o777, 0o700)
        if os.getuid() != 0:
            self.skipTest("needs root to become somebody else")
        self.server.root.chmod(0o755)
        self.server.data.chmod(0o755)
        program = Programs.path("capstan")
        if not os.access(program.parent, os.X_OK):
            self.skipTest("others cannot reach the program")
        process = subprocess.run([program, "--server", f"unix:{self.server.own_socket}", "login",
                                  "list"], user=65534, group=65534, extra_groups=[],
                                 capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 3, process.stdout)
        self.assertIn("Permission denied", process.stderr)

    def test_without_passwords_there_is_no_such_entrance(self) -> None:
        server = CapstanServer(start_agents=False)
        try:
            self.assertFalse((server.data / "owner").exists())
            self.assert_done(server.exec("PRINT 1"))
        finally:
            server.close(self)


if __name__ == "__main__":
    main()
