"""Single bits flipped in copies of real media of SQL Server: found, or nothing that is listed changes
but fields that the format leaves unprotected (tests/support/sqlserver/media_flips.cc).

    python3 test_flips.py --bin build/release/bin --samples DIRECTORY [--all]

--all flips every bit of all headers, which takes minutes. Exit status 77, which CTest takes for
"skipped", if there is no such directory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

SKIPPED = 77
MEDIA_PASSWORD = "dbatools"  # of the one medium that has one


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=Path)
    parser.add_argument("--samples", default=os.environ.get("CAPSTAN_SQLSERVER_SAMPLES"))
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    if not options.samples or not Path(options.samples).is_dir():
        print(f"skipped: no media of SQL Server at '{options.samples}' "
              "(CAPSTAN_SQLSERVER_SAMPLES, --samples)")
        return SKIPPED
    media = sorted(p for p in Path(options.samples).rglob("*")
                   if p.suffix.lower() in (".bak", ".trn"))
    return subprocess.run([options.bin / "sqlserver_media_flips", *(["--all"] * options.all),
                           MEDIA_PASSWORD, *media]).returncode


if __name__ == "__main__":
    sys.exit(main())
