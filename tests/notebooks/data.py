"""The data files that the notebooks read; the same bytes each time."""

from __future__ import annotations

import os
import random
from pathlib import Path

#: When the files were last changed: long ago.
_OLD = 1_700_000_000
_WORDS = (
    "river stone light mill bridge autumn water field quiet morning garden letter harbour window candle road wind paper "
    "boat winter bell orchard the a of and in on it was with for"
).split()


def write(folder: Path) -> None:
    """Write all files below ``folder/data``."""
    data = folder / "data"
    data.mkdir(parents=True)
    for name, content in {
        "train.csv": _passengers(160, survived=True),
        "test.csv": _passengers(60, survived=False),
        "planets.csv": _planets(120),
        "corpus.txt": _corpus(60),
    }.items():
        (data / name).write_text(content)
        os.utime(data / name, (_OLD, _OLD))
    os.utime(data, (_OLD, _OLD))


def _passengers(count: int, *, survived: bool) -> str:
    draw = random.Random(f"passengers {survived}")
    columns = "PassengerId Survived Pclass Name Sex Age SibSp Parch Ticket Fare Cabin Embarked".split()
    lines = []
    for number in range(1, count + 1):
        sex = draw.choice(["male", "female"])
        title = draw.choice(["Mr", "Dr", "Master", "Rev"] if sex == "male" else ["Mrs", "Miss", "Lady"])
        row = {
            "PassengerId": number,
            "Survived": int(draw.random() < (0.7 if sex == "female" else 0.25)),
            "Pclass": draw.choice([1, 2, 3, 3]),
            "Name": f'"Surname{number}, {title}. Given"',
            "Sex": sex,
            "Age": "" if draw.random() < 0.2 else draw.randint(1, 70),
            "SibSp": draw.choice([0, 0, 1, 2]),
            "Parch": draw.choice([0, 0, 0, 1]),
            "Ticket": f"T{draw.randint(1000, 9999)}",
            "Fare": round(draw.expovariate(0.03), 4),
            "Cabin": "" if draw.random() < 0.7 else f"C{draw.randint(1, 99)}",
            "Embarked": draw.choice(["S", "S", "C", "Q"]) if number != 7 else "",
        }
        lines.append(",".join(str(row[c]) for c in columns if survived or c != "Survived"))
    header = ",".join(c for c in columns if survived or c != "Survived")
    return "\n".join([header, *lines, ""])


def _planets(count: int) -> str:
    draw = random.Random("planets")
    lines = ["method,number,orbital_period,mass,distance,year"]
    for _ in range(count):
        method = draw.choice(["Radial Velocity", "Transit", "Imaging", "Microlensing"])
        period, mass = round(draw.expovariate(0.01), 3), round(draw.expovariate(0.5), 2)
        mass_text = "" if draw.random() < 0.3 else str(mass)
        row = (
            method,
            draw.randint(1, 4),
            period,
            mass_text,
            round(draw.uniform(5, 400), 1),
            draw.randint(1995, 2014),
        )
        lines.append(",".join(map(str, row)))
    return "\n".join([*lines, ""])


def _corpus(count: int) -> str:
    draw = random.Random("corpus")
    lines = []
    for _ in range(count):
        words = [draw.choice(_WORDS) for _ in range(draw.randint(4, 12))]
        lines.append(" ".join(words).capitalize() + draw.choice([".", ".", "?", "!"]))
    return "\n".join([*lines, ""])
