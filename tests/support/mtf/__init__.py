"""A reader of Microsoft Tape Format 1.00a media, written from the specification alone.

It shares no code and no constant with the server, so that it can judge what the server writes.
Section numbers in this package are those of the project's MTF 1.00a reference.
Reading order: layout (fields, blocks, the walk), content (what a FILE holds), catalog (set map and
file catalog), verify (every rule a sound medium keeps).
"""
