"""Processor time of processes and of all that they started, whether those still run or not."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from comparison.memory import children_of

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def of_tree(pid: int) -> float:
    """Seconds so far. What a process has reaped counts with it, so that sums only grow."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has just ended, and is in its parent's sum
    own_and_reaped = sum(int(ticks) for ticks in fields[11:15]) / TICKS_PER_S
    return own_and_reaped + sum(map(of_tree, children_of(pid)))


def of_commands() -> float:
    """Of commands that this process has run and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
