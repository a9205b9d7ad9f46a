"""Reading what river gauges log, for `pipeline.ipynb`.

Imported by the notebook, and run by it as a command: ``python cleaning.py daily CLEAN.csv DAILY.csv``.
"""

import csv
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Cleaned:
    """The usable readings of one station, and how many lines were of no use, by reason."""

    readings: list[tuple[str, float]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def read_log(path, highest_m):
    """Read one station's log, in metres.

    Parameters
    ----------
    path
        A file of lines ``DATE TIME STATION LEVEL UNIT``; ``--`` stands for a reading that failed.
    highest_m
        Readings above this level in metres are dropped as errors.

    Returns
    -------
    Cleaned
        Pairs of time (``YYYY-MM-DD HH:MM``) and level in metres, in the order of the file.
    """
    cleaned = Cleaned()
    for line in Path(path).read_text().splitlines():
        date, time, _station, level, *unit = line.split()
        if level == "--":
            cleaned.dropped["failed"] += 1
            continue
        metres = float(level) / 100 if unit == ["cm"] else float(level)
        if metres > highest_m:
            cleaned.dropped["too high"] += 1
        else:
            cleaned.readings.append((f"{date} {time}", metres))
    return cleaned


def daily(source, target):
    """Write the highest level of each day of `source` (time, level) to `target` (day, level)."""
    highest = {}
    with open(source, newline="") as lines:
        for row in csv.DictReader(lines):
            day, level = row["time"][:10], float(row["level_m"])
            highest[day] = max(level, highest.get(day, level))
    with open(target, "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["day", "level_m"])
        writer.writerows((day, f"{level:.2f}") for day, level in highest.items())


if __name__ == "__main__":
    command, source, target = sys.argv[1:]
    if command != "daily":
        sys.exit(f"cleaning.py: no such command: {command}")
    daily(source, target)
