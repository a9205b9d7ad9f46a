"""What the JupyterLab extension costs: opening a long notebook, drawing and moving a large graph, answering a selection.

    python benchmarks/ui.py [--rounds 5]

Needs what the browser tests need (tests/browser.py). Each figure is the median of its rounds; with and without the extension
take turns, each in a server of its own. The large graph and the thousand executions are made up and handed to the page in the
server's place, so that the page's own share is measured; the selected cell's record comes from the server.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import Lab, Page, chromium, lab, missing, write_notebook

CELLS, NODES, EXECUTIONS = 300, 2_000, 1_000
FRAMES = """() => new Promise(done => {
    const frame = document.querySelector('.provcrt-Graph-frame'), box = frame.getBoundingClientRect();
    const at = (type, x) => (type === 'pointerdown' ? frame : window).dispatchEvent(new PointerEvent(
        type, {clientX: box.x + x, clientY: box.y + x, button: 0, bubbles: true}));
    at('pointerdown', 10);
    let frames = 0;
    const start = performance.now();
    const step = now => {
        at('pointermove', 10 + (frames++ * 7) % 300);
        now - start < 2000 ? requestAnimationFrame(step) : (at('pointerup', 10), done(frames / (now - start) * 1000));
    };
    requestAnimationFrame(step);
})"""
#: Milliseconds from a click until what a selector finds satisfies a test, and is painted.
ANSWER = """([click, found, text]) => new Promise(done => {
    const start = performance.now();
    const look = () => {
        const node = document.querySelector(found);
        node && node.innerText.includes(text) ? requestAnimationFrame(() => done(performance.now() - start))
                                              : setTimeout(look, 1);
    };
    const target = document.querySelector(click);
    for (const type of ['mousedown', 'mouseup', 'click']) target.dispatchEvent(new MouseEvent(type, {bubbles: true, button: 0}));
    look();
})"""

# JupyterLab's own share of a selection: until it has drawn the notebook anew.
DRAWN = """click => new Promise(done => {
    const start = performance.now();
    const target = document.querySelector(click);
    for (const type of ['mousedown', 'mouseup', 'click']) target.dispatchEvent(new MouseEvent(type, {bubbles: true, button: 0}));
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
PROMPT = ".jp-CodeCell:nth-of-type({}) .jp-InputPrompt"
SELECTED = range(4, 9)  # the cells that are selected after a first one


def selecting(browser: Any, running: Lab) -> float:
    """Milliseconds until JupyterLab itself has drawn a selection."""
    window = browser.new_page(viewport={"width": 1400, "height": 900})
    window.set_default_timeout(120_000)
    Page(window, running).open("long.ipynb")
    window.wait_for_timeout(3000)
    window.evaluate(DRAWN, PROMPT.format(3))
    found = []
    for number in SELECTED:
        window.wait_for_timeout(300)
        found.append(float(window.evaluate(DRAWN, PROMPT.format(number))))
    window.close()
    return statistics.median(found)


def opening(browser: Any, running: Lab, *, badges: bool) -> float:
    """Seconds until a notebook that has run is drawn, with badges if they are to be."""
    window = browser.new_page(viewport={"width": 1400, "height": 900})
    window.set_default_timeout(120_000)
    start = time.perf_counter()
    page = Page(window, running)
    page.open("long.ipynb")
    if badges:
        window.wait_for_selector(".provcrt-Badge")
    window.wait_for_function("() => document.querySelector('.jp-CodeCell .cm-content')")
    took = time.perf_counter() - start
    window.close()
    return took


def ready(browser: Any, running: Lab) -> None:
    """Run the long notebook once, so that there is something to show."""
    sources = [f"v{i} = {f'v{i - 1} + 1' if i else 0}\nprint(v{i})" for i in range(CELLS)]
    write_notebook(running.root / "long.ipynb", sources)
    window = browser.new_page(viewport={"width": 1400, "height": 900})
    window.set_default_timeout(120_000)
    page = Page(window, running)
    page.open("long.ipynb")
    page.run_all()
    window.keyboard.press("Control+s")
    window.wait_for_timeout(2000)
    window.close()


def large_graph() -> dict[str, Any]:
    """Files, cells and variables of a notebook as notebooks are: most cells read what was bound a little above."""
    cells = NODES * 4 // 10
    graph: dict[str, Any] = {"cells": [], "files": [], "variables": [], "edges": []}
    edges = graph["edges"]
    for i in range(cells):
        graph["cells"].append(
            {"id": f"cell:{i}", "cell": str(i), "title": f"cell {i}", "record": "r", "seconds": 1.0}
        )
        graph["variables"].append({"id": f"variable:v{i}", "name": f"v{i}", "cell": str(i), "module": False})
        edges.append({"from": f"cell:{i}", "to": f"variable:v{i}", "kind": "writes"})
        edges += [
            {"from": f"variable:v{j}", "to": f"cell:{i}", "kind": "reads"}
            for j in {i - 1, i * 7 // 8}
            if 0 <= j < i
        ]
    for i in range(NODES - 2 * cells):
        path = {"path": f"/d/{i}.csv", "contents": f"{i}.csv"}
        graph["files"].append({"id": f"file:{i}", "name": f"{i}.csv", "path": path})
        edges.append({"from": f"file:{i}", "to": f"cell:{i * 2 % cells}", "kind": "reads"})
    return graph


def many_executions() -> dict[str, Any]:
    """A project of many executions, each branched from an earlier one."""
    shared = {
        **{
            "relation": "modification",
            "changes": [],
            "seconds": 3.0,
            "command": "study.ipynb",
            "status": "ok",
        },
        **{
            "error": None,
            "verdict": "reproduced",
            "repetitions": 1,
            "name": "",
            "tags": ["t"],
            "size": 10_000,
        },
        **{"notebook": "study.ipynb", "cells": 12},
    }
    executions = [
        {"id": f"e{i}", "parent": f"e{i // 2}" if i > 1 else None, "when": 1.7e9 + i, **shared}
        for i in range(1, EXECUTIONS + 1)
    ]
    return {"project": {"root": "", "name": "study"}, "executions": executions, "branches": []}


def _fulfil(answer: dict[str, Any]) -> Callable[[Any], None]:
    text = json.dumps(answer)
    return lambda route: route.fulfill(body=text, content_type="application/json")


def panels(browser: Any, running: Lab) -> dict[str, float]:
    """Milliseconds and frames of the panels, once."""
    window = browser.new_page(viewport={"width": 1400, "height": 900})
    window.set_default_timeout(120_000)
    answers = {"**/provcrt/api/graph*": large_graph(), "**/provcrt/api/executions?*": many_executions()}
    for url, answer in answers.items():
        window.route(url, _fulfil(answer))
    page = Page(window, running)
    page.open("long.ipynb")
    window.wait_for_selector(".provcrt-Badge")
    page.command("Show Provenance Graph")
    nodes = "() => document.querySelector('.provcrt-Node')"  # those in view
    window.wait_for_function(nodes)
    tab = ".provcrt-Tabs [role=tab]:nth-child({})"
    window.click(tab.format(1))
    start = time.perf_counter()
    window.click(tab.format(2))
    window.wait_for_function(nodes)
    drawn = (time.perf_counter() - start) * 1000
    frames = float(window.evaluate(FRAMES))
    window.click(tab.format(1))
    panel = "#provcrt-provenance"
    first = float(window.evaluate(ANSWER, [PROMPT.format(3), panel, "Variables bound"]))
    later = []
    for number in SELECTED:
        window.wait_for_timeout(300)
        later.append(float(window.evaluate(ANSWER, [PROMPT.format(number), panel, f"v{number - 1}"])))
    page.command("Show Experiments")
    window.wait_for_selector("[data-row='e1']")
    row = float(window.evaluate(ANSWER, ["[data-row='e1']", ".provcrt-Row.provcrt-mod-chosen", "e1"]))
    window.close()
    return {
        "graph drawn, ms": drawn,
        "panning, frames/s": frames,
        "cell selected for the first time, ms": first,
        "cell selected, ms": statistics.median(later),
        "execution selected, ms": row,
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    if lacks := missing():
        sys.exit(f"benchmarks/ui.py lacks {lacks}")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        with lab(Path(scratch, "with")) as ours, lab(Path(scratch, "without"), extension=False) as plain:
            ready(browser, ours)
            ready(browser, plain)
            with_badges, without, drawn, bare = [], [], [], []
            for _ in range(rounds):
                without.append(opening(browser, plain, badges=False))
                with_badges.append(opening(browser, ours, badges=True))
                drawn.append(panels(browser, ours))
                bare.append(selecting(browser, plain))
        browser.close()
    a, b = statistics.median(with_badges), statistics.median(without)
    print(f"opening {CELLS} cells: {a:.2f} s with badges, {b:.2f} s without: {a / b:.2f} times")
    for name in drawn[0]:
        print(f"{name}: {statistics.median(run[name] for run in drawn):.0f}")
    print(f"cell selected, JupyterLab without the extension, ms: {statistics.median(bare):.0f}")


if __name__ == "__main__":
    main()
