"""A reader of Microsoft Tape Format 1.00a media, written from the specification alone.

It shares no code and no constant with the server, so that it can judge what the server writes.
What the specification leaves no choice in (checksums, dates, the header of a stream) it takes from
tools/mtfdump, which shares nothing with the server either.
Section numbers in this package are those of the project's MTF 1.00a reference.
Reading order: layout (fields, blocks, the walk), content (what a FILE holds), catalog (set map and
file catalog), verify (every rule a sound medium keeps).
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "tools"))
