"""A client of PostgreSQL for tests: libpq itself, by ctypes, with text in and text out.

Threads: a Connection belongs to one at a time. Waiting inside libpq lets other threads run.
"""

from __future__ import annotations

import ctypes
import ctypes.util

_CONNECTION_OK = 0
_COMMAND_OK, _TUPLES_OK = 1, 2
_SHUTDOWN = b"57P0"  # SQLSTATEs of servers that end a session
_NoticeProcessor = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
_silence = _NoticeProcessor(lambda _context, _text: None)
_libraries: list[ctypes.CDLL] = []


class DatabaseError(Exception):
    """What the server, or libpq about it, says."""

    def __init__(self, message: str, sqlstate: str = "", lost: bool = False) -> None:
        super().__init__(message.strip())
        self.sqlstate = sqlstate
        self.lost = lost  # the connection is gone: whether the statement took effect is unknown


def _libpq() -> ctypes.CDLL:
    """Loaded at the first use, so that this module can be imported where there is no libpq."""
    if not _libraries:
        library = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        for name, result, arguments in (
                ("PQconnectdb", pointer, [text]), ("PQstatus", number, [pointer]),
                ("PQfinish", None, [pointer]), ("PQerrorMessage", text, [pointer]),
                ("PQexec", pointer, [pointer, text]), ("PQresultStatus", number, [pointer]),
                ("PQresultErrorField", text, [pointer, number]), ("PQclear", None, [pointer]),
                ("PQntuples", number, [pointer]), ("PQnfields", number, [pointer]),
                ("PQgetvalue", text, [pointer, number, number]),
                ("PQgetisnull", number, [pointer, number, number]),
                ("PQsetNoticeProcessor", pointer, [pointer, _NoticeProcessor, pointer])):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        _libraries.append(library)
    return _libraries[0]


class Connection:
    """One session; `info` is a connection string of libpq."""

    def __init__(self, info: str) -> None:
        self._pq = _libpq()
        self._handle = self._pq.PQconnectdb(info.encode())
        if self._pq.PQstatus(self._handle) != _CONNECTION_OK:
            message = self._error()
            self.close()
            raise DatabaseError(message, lost=True)
        self._pq.PQsetNoticeProcessor(self._handle, _silence, None)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._handle:
            self._pq.PQfinish(self._handle)
            self._handle = None

    def _error(self) -> str:
        return str(self._pq.PQerrorMessage(self._handle).decode(errors="replace"))

    def query(self, statement: str) -> list[tuple[str | None, ...]]:
        """Runs statements; the rows of the last one, as PostgreSQL prints them."""
        result = self._pq.PQexec(self._handle, statement.encode())
        try:
            if not result or self._pq.PQresultStatus(result) not in (_COMMAND_OK, _TUPLES_OK):
                state = self._pq.PQresultErrorField(result, ord("C")) if result else None
                # What libpq says by itself has no SQLSTATE.
                lost = state is None or state.startswith(_SHUTDOWN)
                raise DatabaseError(self._error(), (state or b"").decode(), lost)
            return [tuple(self._value(result, row, column)
                          for column in range(self._pq.PQnfields(result)))
                    for row in range(self._pq.PQntuples(result))]
        finally:
            self._pq.PQclear(result)

    def _value(self, result: int, row: int, column: int) -> str | None:
        if self._pq.PQgetisnull(result, row, column):
            return None
        return str(self._pq.PQgetvalue(result, row, column).decode())

    def value(self, statement: str) -> str:
        """The only value of the only row."""
        (row,) = self.query(statement)
        (value,) = row
        assert value is not None
        return value
