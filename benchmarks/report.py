"""Writes docs/measured.md and its plots from the raw results, so that no figure is copied by hand.

python benchmarks/report.py             # writes
python benchmarks/report.py --check     # ends with 1 if the page is not what the results say
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "measured.md"
IMAGES = HERE.parent / "docs" / "images"

Result = Mapping[str, Any]

HEAD = """# What was measured

Every table and plot is made by `benchmarks/report.py` from the raw measurements in `benchmarks/results/`: medians, with their
number of measurements. `benchmarks/README.md` says how to repeat them.
"""
#: File of results, heading, what it is, and the file of its plot.
PARTS = (
    ("notebooks", "Beside plain ipykernel", "The example notebooks, both kernels in turn, cell by cell."),
    (
        "peers",
        "Beside peers",
        "One notebook, each system used as its documentation says, in seconds from the first process to the last answer. "
        "**Stale**: the answer was wrong, without a word.",
    ),
    ("state", "Keeping state", "24 cells with 420 MB of tables."),
    ("runtime", "Containing and repeating a command", "k-means on 90,000 points, by `./main.sh 4`."),
    ("tracing", "Tracing", "What tracing costs, beside others that trace."),
    ("scale", "How it grows", "At several sizes; beside it what the machine allows."),
)


def number(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def of_notebooks(result: Result) -> Iterator[str]:
    """Plain ipykernel and PROV-CRT, a line for each figure."""
    rows = []
    for figure in result["figures"]:
        plain, ours = (statistics.median(figure[name]) for name in ("plain", "provcrt"))
        unit = figure["unit"]
        rows.append(
            (
                figure["name"],
                f"{number(plain)} {unit}",
                f"{number(ours)} {unit}",
                f"{ours / plain:.2f} ×",
                str(len(figure["provcrt"])),
            )
        )
    yield from table(("", "ipykernel", "PROV-CRT", "ratio", "n"), rows)


def of_contenders(result: Result) -> Iterator[str]:
    """A line for each contender, a column for each figure."""
    figures = result["figures"]
    names = list(dict.fromkeys(name for figure in figures for name in figure["values"]))
    right = result.get("right", {})
    rows = []
    for name in names:
        row = [name]
        for figure in figures:
            values = figure["values"].get(name)
            stale = right.get(name, {}).get(figure["name"]) is False
            row.append(
                ""
                if not values
                else f"{number(statistics.median(values))} {figure['unit']}"
                + (", **stale**" if stale else "")
            )
        rows.append(row)
    yield from table(("", *(figure["name"] for figure in figures)), rows)
    if left_out := result.get("left out"):
        yield ""
        yield f"Left out: {'; '.join(f'{name} ({why})' for name, why in left_out.items())}."


def of_scale(result: Result) -> Iterator[str]:
    """A line for each figure and contender, a column for each size."""
    sections = dict.fromkeys(figure["name"].partition(":")[0] for figure in result["figures"])
    for section in sections:
        figures = [each for each in result["figures"] if each["name"].startswith(f"{section}:")]
        sizes = list(dict.fromkeys(key.partition("@")[2] for figure in figures for key in figure["values"]))
        rows = []
        for figure in figures:
            for name in dict.fromkeys(key.partition("@")[0] for key in figure["values"]):
                found = [figure["values"].get(f"{name}@{size}" if size else name) for size in sizes]
                told = [
                    f"{number(statistics.median(each))} {figure['unit']}" if each else "" for each in found
                ]
                rows.append((figure["name"].partition(": ")[2], name, *told))
        yield ""
        yield from table((section, "", *(f"{float(size):,.0f}" if size else "" for size in sizes)), rows)


def of_tracing(result: Result) -> Iterator[str]:
    """A line for each workload: CPU seconds without a tracer, and how many times as much each tracer takes."""
    works = result["seconds"]
    tracers = list(dict.fromkeys(name for by in works.values() for name in by if name != "none"))
    rows = []
    for work, by in works.items():
        medians = {
            name: statistics.median(cost["cpu"] for cost in costs) for name, costs in by.items() if costs
        }
        plain = medians["none"]
        factors = [f"{medians[name] / plain:.2f} ×" if name in medians else "" for name in tracers]
        rows.append((work, f"{number(plain)} s", *factors, str(len(by["none"]))))
    yield from table(("CPU", "no tracer", *tracers, "n"), rows)


def of_runtime(result: Result) -> Iterator[str]:
    """A line for each way to run the command."""
    rows = [
        (
            name,
            f"{number(run['wall'])} s",
            f"{run['wall x']:.2f} ×",
            f"{number(run['cpu'])} s",
            f"{run['cpu x']:.2f} ×",
        )
        for name, run in result["runs"].items()
    ]
    yield from table(("", "clock", "", "CPU", ""), rows)
    yield ""
    for name, why in result.get("absent", {}).items():
        yield f"{name} did not run here: {why}."
        yield ""
    kept = f"Kept for the first execution: {number(result['store MB'])} MB with whole packages"
    if "touched files MB" in result:
        kept += f", of which the files that it touched would be {number(result['touched files MB'])} MB"
    yield f"{kept}; for three more: {number(result['three more MB'])} MB."
    if "told" in result:
        yield ""
        rows = [
            (f"`{name}`", f"{number(each['wall'])} s", f"{number(each['cpu'])} s")
            for name, each in result["told"].items()
        ]
        yield from table(("", "clock", "CPU"), rows)


KINDS: dict[str, Callable[[Result], Iterator[str]]] = {
    "notebooks": of_notebooks,
    "peers": of_contenders,
    "state": of_contenders,
    "runtime": of_runtime,
    "tracing": of_tracing,
    "scale": of_scale,
}


def measured_on(machine: Mapping[str, Any]) -> str:
    """When and on what."""
    packages = ", ".join(f"{name} {version}" for name, version in machine.get("packages", {}).items())
    load = ", ".join(f"{value:.1f}" for value in machine.get("load", ()))
    return (
        f"{machine['date'][:10]}, {machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel']}, "
        f"Python {machine['python']}, {packages}; load before: {load}."
    )


def page(results: Mapping[str, Result]) -> str:
    """The whole page."""
    lines = [HEAD.rstrip()]
    for name, heading, text in PARTS:
        lines += ["", f"## {heading}", "", text]
        if name not in results:
            lines += ["", f"Not measured yet: there is no `benchmarks/results/{name}.json`."]
            continue
        lines += ["", *KINDS[name](results[name])]
        if (IMAGES / f"{name}.svg").exists():
            lines += ["", f"![{heading}](images/{name}.svg)"]
        if "machine" in results[name]:
            lines += ["", measured_on(results[name]["machine"])]
    return "\n".join(lines) + "\n"


def plot_peers(result: Result, path: Path) -> None:
    """Bars for each step of a notebook's life."""
    import matplotlib.pyplot as plt

    figures = [each for each in result["figures"] if each["unit"] == "s"]
    names = list(dict.fromkeys(name for figure in figures for name in figure["values"]))
    shown, rows = plt.subplots(
        1,
        len(figures),
        figsize=(2.6 * len(figures), 0.3 * len(names) + 0.9),
        sharey=True,
        layout="constrained",
    )
    for axes, figure in zip(rows, figures, strict=True):
        for place, name in enumerate(names):
            values = figure["values"].get(name)
            if values:
                stale = result["right"].get(name, {}).get(figure["name"]) is False
                axes.barh(
                    place,
                    statistics.median(values),
                    color="tab:red" if stale else "tab:green" if name == "PROV-CRT" else "0.7",
                )
        axes.set(
            title=figure["name"],
            xlabel="seconds (red: a stale answer)",
            yticks=range(len(names)),
            yticklabels=names,
        )
    rows[0].invert_yaxis()  # shared: plain ipykernel is the first from above
    save(shown, path)


def plot_scale(result: Result, path: Path) -> None:
    """What grows against its size, on logarithmic axes; a panel for each section."""
    import matplotlib.pyplot as plt

    sections = [
        each
        for each in dict.fromkeys(f["name"].partition(":")[0] for f in result["figures"])
        if each != "limits"
    ]
    shown, rows = plt.subplots(
        1, len(sections), figsize=(3.2 * len(sections), 2.9), layout="constrained", squeeze=False
    )
    for axes, section in zip(rows[0], sections, strict=True):
        for figure in result["figures"]:
            if figure["name"].startswith(f"{section}:") and figure["unit"] == "s":
                for name in dict.fromkeys(key.partition("@")[0] for key in figure["values"]):
                    points = [
                        (float(key.partition("@")[2]), statistics.median(v))
                        for key, v in figure["values"].items()
                        if key.startswith(f"{name}@")
                    ]
                    label = f"{figure['name'].partition(': ')[2]}, {name}"
                    axes.plot(
                        *zip(*points, strict=True),
                        marker=".",
                        linestyle="--" if name == "plain" else "-",
                        label=label,
                    )
        axes.set(
            xscale="log", yscale="log", xlabel={"state": "megabytes"}.get(section, section), ylabel="seconds"
        )
        axes.legend(frameon=False, fontsize=6)
    save(shown, path)


def save(figure: Any, path: Path) -> None:
    """Write a plot that comes out the same each time."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "provcrt"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Write or check the page."""
    files = {name: RESULTS / f"{name}.json" for name, _, _ in PARTS}
    results = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    if "--check" in sys.argv:
        sys.exit(
            PAGE.read_text() != page(results)
            and f"{PAGE} is not what the results say: python benchmarks/report.py"
        )
    import matplotlib

    matplotlib.use("Agg")
    for name, plot in (("peers", plot_peers), ("scale", plot_scale)):
        if name in results:
            plot(results[name], IMAGES / f"{name}.svg")
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
