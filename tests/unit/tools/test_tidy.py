#!/usr/bin/env python3
"""tools/tidy finds what it claims to find, and nothing in a tree that is as it should be."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TIDY = Path(__file__).resolve().parents[3] / "tools" / "tidy"
README = "# folder\n"
CLEAN = {
    "README.md": README, **{f"{folder}/README.md": README for folder in
                            ("agent", "plugins", "proto", "server", "tests", "tools", "vdi")},
    "vdi/base/README.md": README,
    "vdi/base/status.h": "// A status.\n#pragma once\n",
    "vdi/CMakeLists.txt": "capstan_library(vdi SOURCES ring.cc)\n",
    "vdi/ring.cc": '#include "vdi/base/status.h"\n\nint F() {\n  return 1;\n}\n',
}


class Tidy(unittest.TestCase):
    def findings(self, changes: dict[str, str]) -> list[str]:
        """What tidy says of a repository with CLEAN and `changes`; exit status and output agree."""
        with tempfile.TemporaryDirectory() as directory:
            for path, text in (CLEAN | changes).items():
                file = Path(directory, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            subprocess.run(["git", "init", "-q"], cwd=directory, check=True)
            subprocess.run(["git", "add", "-A"], cwd=directory, check=True)
            done = subprocess.run([sys.executable, TIDY, directory], capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        lines = done.stdout.splitlines()
        self.assertEqual(done.returncode, 1 if lines else 0)
        return lines

    def assert_found(self, changes: dict[str, str], *expected: str) -> None:
        found = self.findings(changes)
        self.assertEqual(len(found), len(expected), found)
        for line, start in zip(found, expected):
            self.assertTrue(line.startswith(start), f"{line!r} does not start with {start!r}")

    def test_a_clean_tree_has_no_findings(self):
        self.assert_found({})

    def test_a_function_may_have_70_lines_and_not_71(self):
        def body(lines: int) -> str:
            return "class A {\n  A() : b_{1} {\n" + "    G();\n" * (lines - 2) + "  }\n};\n"

        self.assert_found({"vdi/ring.cc": body(70)})
        self.assert_found({"vdi/ring.cc": body(71)}, "vdi/ring.cc:2: function of 71 lines")

    def test_braces_in_comments_literals_and_macros_do_not_count(self):
        odd = ("#define OPEN \\\n  {\n// {\n/* {\n*/\nconst char* a = \"{\\\"{\";\nchar b = '{';\n"
               'const char* c = R"x({")x";\nint d = 1\'000;\n')
        body = "int F() {\n" + "  G();\n" * 69 + "}\n"
        self.assert_found({"vdi/ring.cc": odd + body}, "vdi/ring.cc:10: function of 71 lines")

    def test_a_table_may_be_long(self):
        self.assert_found({"vdi/ring.cc": "int kTable[] = {\n" + "  1,\n" * 100 + "};\n"})

    def test_a_file_may_have_500_lines_and_not_501(self):
        self.assert_found({"vdi/ring.cc": "//\n" * 500})
        self.assert_found({"vdi/ring.cc": "//\n" * 501}, "vdi/ring.cc:1: 501 lines")

    def test_a_folder_with_sources_has_a_readme_of_60_lines(self):
        self.assert_found({"server/media/frame.h": "// A frame.\n#pragma once\n"},
                          "server/media/README.md:1: missing")
        self.assert_found({"server/README.md": "\n" * 61}, "server/README.md:1: 61 lines")

    def test_the_top_level_holds_what_it_holds(self):
        self.assert_found({"common/README.md": README, ".hidden": ""}, "common:1: ")

    def test_a_source_that_is_not_built_is_dead(self):
        self.assert_found({"vdi/string.cc": ""}, "vdi/string.cc:1: no CMakeLists.txt names it")

    def test_banned_words_are_found(self):
        for line in ("// TODO: later", "// FIXME", "std::regex r;", "#include <iostream>",
                     "std::mutex m;", "throw Error(1);"):
            self.assert_found({"vdi/ring.cc": f"\n{line}\n"}, "vdi/ring.cc:2: ")
        self.assert_found({"vdi/base/status.h": "// x\n#pragma once\nusing namespace std;\n"},
                          "vdi/base/status.h:3: ")
        self.assert_found({"vdi/ring.cc": '// TODO(#12): later\nchar a[] = "XXXXXX";\n'})

    def test_a_sleep_in_a_unit_test_needs_a_reason(self):
        def test(line: str) -> dict[str, str]:
            return {"tests/CMakeLists.txt": "a_test.cc", "tests/unit/a_test.cc": f"\n{line}\n"}

        self.assert_found(test("sleep_for(1s);"), "tests/unit/a_test.cc:2: ")
        self.assert_found(test("sleep_for(1s);  // the time is what is tested"))

    def test_a_namespace_has_one_type_of_a_name(self):
        def file(namespace: str, text: str) -> str:
            return f"// X.\n#pragma once\nnamespace {namespace} {{\n{text}\n}}  // namespace\n"

        piece = "struct Piece {\n  int a;\n};"
        self.assert_found({"vdi/a.h": file("capstan", piece), "vdi/b.h": file("capstan", piece)},
                          "vdi/b.h:4: capstan::Piece: another type has this name, vdi/a.h:4")
        self.assert_found({"vdi/a.h": file("capstan", piece),
                           "vdi/b.h": file("capstan::vdi", piece),
                           "vdi/c.h": file("capstan", "struct Piece;"),
                           "vdi/d.h": file("capstan", "namespace {\n" + piece + "\n}  // namespace"),
                           "vdi/e.h": file("capstan", "struct Piece::Part {\n  int a;\n};")})

    def test_includes_follow_the_arrows(self):
        tree = {f"{path}.h": "// x\n#pragma once\n" for path in (
            "vdi/set", "agent/agent", "server/engine/job", "server/tsql/parser", "server/writers/sqlite/view",
            "server/writers/database_writer", "plugins/disk/file")}
        tree |= {f"{folder}/README.md": README for folder in (
            "server/engine", "server/tsql", "server/writers", "server/media", "plugins/disk", "plugins/edge",
            "plugins/s3")}
        for source, included in (
                ("vdi/base/status.h", "vdi/set.h"), ("vdi/set.h", "server/engine/job.h"),
                ("agent/agent.h", "server/engine/job.h"), ("server/engine/job.h", "agent/agent.h"),
                ("plugins/disk/file.h", "vdi/set.h"), ("plugins/s3/key.h", "plugins/disk/file.h"),
                ("plugins/edge/edge.h", "plugins/disk/file.h"),
                ("server/media/frame.h", "server/engine/job.h"), ("server/engine/job.h", "server/tsql/parser.h"),
                ("server/engine/job.h", "server/writers/sqlite/view.h")):
            text = f'// x\n#pragma once\n#include "{included}"\n'
            self.assert_found(tree | {source: text}, f"{source}:3: {included}: the arrows")
        self.assert_found(tree | {"server/engine/job.h":
                                  '// x\n#pragma once\n#include "server/writers/database_writer.h"\n'})
        self.assert_found(tree | {"plugins/edge/edge.h": "// x\n#pragma once\n",
                                  "plugins/s3/key.h": '// x\n#pragma once\n#include "plugins/edge/edge.h"\n'})

    def test_grpc_stops_in_the_adapters(self):
        files = {"agent/CMakeLists.txt": "device_runner.cc coordinator_client.cc",
                 "agent/coordinator_client.cc": "#include <grpcpp/grpcpp.h>\n"}
        self.assert_found(files)
        self.assert_found(files | {"agent/device_runner.cc": '#include "capstan/v1/coordinator.pb.h"\n'},
                          "agent/device_runner.cc:1: capstan/v1/coordinator.pb.h: gRPC")

    def test_an_include_is_a_path_from_the_root(self):
        self.assert_found({"vdi/ring.cc": '#include "vdi/status.h"\n'}, "vdi/ring.cc:1: ")


if __name__ == "__main__":
    unittest.main()
