#!/usr/bin/env python3
"""run_check.py [--before PROGRAM ARGUMENT] PLUGIN-CHECK PLUGIN.so PLACE [OPTION...]: plugin-check in a
temporary folder, after a program that makes something in it.

`{folder}` in every argument is that folder. The exit status is plugin-check's.
"""

import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory(prefix="capstan-check-") as folder:
    arguments = [argument.replace("{folder}", folder) for argument in sys.argv[1:]]
    if arguments[0] == "--before":
        subprocess.run(arguments[1:3], check=True)
        arguments = arguments[3:]
    sys.exit(subprocess.run(arguments, check=False).returncode)
