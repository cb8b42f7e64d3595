#!/usr/bin/env python3
"""Lists, checks and extracts media of Capstan's without Capstan: a reader of its own, written from
server/media/format.md, in plain Python 3.11.

  mtfdump.py MEDIUM...                   media, sets and files; every byte is checked
  mtfdump.py MEDIUM... --frames          every frame with its place; with --log, those of the WAL
  mtfdump.py MEDIUM... --log             the log in each set: SQLite's blocks, PostgreSQL's records
  mtfdump.py MEDIUM... --extract DIR     the database files of each set to DIR/<position>
  mtfdump.py MEDIUM... --json            the same for programs

Exit status: 0 sound, 1 damage (file, byte and what on standard error), 2 wrong usage.
"""

import sys

from mtfdump.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
