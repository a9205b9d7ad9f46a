"""Draws the pictures of docs/jupyterlab.md anew: ``python tests/screenshots.py`` writes them to docs/images."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import Lab, Page, chromium, lab, missing, write_notebook

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SOURCES = [
    "import numpy as np, pandas as pd, matplotlib.pyplot as plt, time",
    "prices = pd.read_csv('prices.csv')\nprices.tail(3)",
    "def smooth(series, days):\n    time.sleep(1.5)  # a slow step\n    return series.rolling(days).mean()",
    "days = 7\nweekly = smooth(prices.price, days)",
    "fig, ax = plt.subplots(figsize=(6, 2.2))\nax.plot(prices.price, alpha=.4)\nax.plot(weekly)\nplt.show()",
    "noise = np.random.default_rng().normal()",
    "weekly.to_csv('weekly.csv')\nprint(f'{weekly.iloc[-1]:.2f}')",
]


def prices(path: Path, factor: float = 1.0) -> None:
    """A file of data."""
    rows = [f"{day},{factor * (100 + day * 0.3 + 8 * (day * 7919 % 13) / 13):.2f}" for day in range(120)]
    path.write_text("day,price\n" + "\n".join(rows) + "\n")


def notebook(running: Lab, page: Page) -> None:
    """Badges, lines and the status bar; the panel of a cell; the preview; the graph."""
    window = page.page
    page.open("study/prices.ipynb")
    page.run_all()
    page.restart_only()
    prices(running.root / "study" / "prices.csv", 1.1)
    page.command("Preview Run All")
    window.wait_for_selector(".provcrt-Preview")
    window.wait_for_timeout(400)
    window.locator(".jp-Dialog-content").screenshot(path=IMAGES / "preview.png")
    window.click(".jp-Dialog button.jp-mod-accept")
    page.page.wait_for_timeout(500)
    page.done()
    page.edit(3, "days = 14\nweekly = smooth(prices.price, days)")
    window.keyboard.press("Control+Enter")
    page.done()
    window.wait_for_timeout(800)
    window.click("li.lm-MenuBar-item:has-text('View')")
    window.click("li.lm-Menu-item:has-text('Appearance')")
    window.click("li.lm-Menu-item:has-text('Show Left Sidebar')")
    window.keyboard.press("Escape")
    page.cell(3).locator(".provcrt-Badge").click()
    panel = window.locator("#provcrt-provenance")
    panel.get_by_role("button", name="Diff").first.click()
    panel.locator(".provcrt-Diff-added").first.wait_for()
    window.wait_for_timeout(800)
    window.screenshot(path=IMAGES / "lab.png")
    window.set_viewport_size({"width": 1280, "height": 620})
    panel.get_by_role("tab", name="Graph").click()
    panel.locator(".provcrt-Node.provcrt-mod-file", has_text="prices.csv").first.click()
    window.wait_for_timeout(500)
    panel.screenshot(path=IMAGES / "graph.png")


def experiments(page: Page) -> None:
    """The tree of executions and two of them side by side."""
    window = page.page
    window.set_viewport_size({"width": 1280, "height": 800})
    page.open("study/prices.ipynb")
    panel = window.locator("#provcrt-experiments")
    page.command("Show Experiments")
    page.command("Record an Execution of This Notebook")
    page.command("Show Experiments")
    panel.locator("[data-row='e1']").wait_for(timeout=90_000)
    page.edit(3, "days = 28\nweekly = smooth(prices.price, days)")
    page.command("Record an Execution of This Notebook")
    page.command("Show Experiments")
    panel.locator("[data-row='e2']").wait_for(timeout=90_000)
    panel.locator("[data-row='e1']").click()
    panel.get_by_role("button", name="Tag").click()
    window.locator(".jp-Dialog input").fill("two weeks")
    window.keyboard.press("Enter")
    panel.locator(".provcrt-Tag").wait_for()
    panel.locator("[data-row='e2']").click(modifiers=["Control"])
    panel.get_by_role("button", name="Compare", exact=True).click()
    window.locator(".provcrt-Compare img").nth(1).wait_for()
    window.wait_for_timeout(7000)
    window.screenshot(path=IMAGES / "compare.png")


def main() -> None:
    """Draw them all."""
    if lacks := missing():
        sys.exit(f"screenshots lack {lacks}")
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, lab(Path(scratch)) as running, sync_playwright() as play:
        write_notebook(running.root / "study" / "prices.ipynb", SOURCES)
        prices(running.root / "study" / "prices.csv")
        browser: Any = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1280, "height": 800})
        window.set_default_timeout(60_000)
        page = Page(window, running)
        try:
            notebook(running, page)
            experiments(page)
        finally:
            window.screenshot(path=Path(tempfile.gettempdir(), "screenshots-end.png"))
            browser.close()


if __name__ == "__main__":
    main()
