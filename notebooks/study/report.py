"""Tabulate and plot what was measured, and check the claims: writes out/front.csv, out/front.png and out/claims.md.

python report.py [POINTS]      POINTS of accuracy may be lost where a claim says "next to nothing" (default: 1)
"""

import sys
from pathlib import Path

import pandas as pd


def means(networks, forests):
    """Average over the seeds: one row for each way to build a model, with its name."""
    by = ["width", "dropped", "bits"]
    small = networks.groupby(by)[["accuracy", "bytes", "nanojoule"]].mean().reset_index()
    small["model"] = [f"{w:.0f} wide, {b:.0f} bits, {d:.0%} dropped" for w, d, b in small[by].to_numpy()]
    trees = forests.groupby("trees")[["accuracy", "bytes", "nanojoule"]].mean().reset_index()
    trees["model"] = [f"{count} trees" for count in trees.trees]
    return pd.concat([small, trees], ignore_index=True)


def front(models, cost):
    """The models that no other one beats in accuracy at the same or a lower `cost`."""
    ordered = models.sort_values([cost, "accuracy"], ascending=[True, False])
    return ordered[ordered.accuracy > ordered.accuracy.cummax().shift(fill_value=-1)]


def claims(models, points):
    """Each claim of the study: what it says, the figure, and whether it holds."""
    networks = models[models.width.notna()]
    ways = networks.set_index(["bits", "dropped", "width"]).accuracy.sort_index()
    lost = (ways[32, 0.0] - ways[8, 0.0]).max(), (ways[32, 0.0] - ways[2, 0.0]).min()
    widest = ways.xs(networks.width.max(), level="width")[32]
    thinner = widest.iloc[0] - widest.iloc[1]  # the smallest share that is dropped
    forest = models[models.trees.notna()].sort_values("accuracy").iloc[-1]
    rivals = networks[networks.accuracy >= forest.accuracy]
    size, energy = (
        forest[cost] / rivals[cost].min() if len(rivals) else 0 for cost in ("bytes", "nanojoule")
    )
    limit = points / 100
    return [
        ("With 8 bits a weight next to nothing is lost", f"{100 * lost[0]:.1f} points at most", lost[0] <= limit),
        ("With 2 bits a lot is lost", f"{100 * lost[1]:.1f} points at least", lost[1] > 20 * limit),
        (f"The widest network can do without {widest.index[1]:.0%} of its weights", f"{100 * thinner:.1f} points", thinner <= limit),
        ("A network as good as the best forest is 100 times smaller", f"{size:.0f} times", size >= 100),
        ("and needs half of its energy", f"{energy:.1f} times less", energy >= 2),
    ]  # fmt: skip


def plot(models, path):
    """Accuracy against bytes, the front in colour."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    draw(models, axes)
    with open(path, "wb") as target:
        figure.savefig(target, dpi=100, metadata={"Software": None})


def draw(models, axes):
    """Draw accuracy against bytes."""
    networks, trees = models[models.width.notna()], models[models.trees.notna()]
    axes.plot(networks.bytes, networks.accuracy, ".", color="0.75", label="networks")
    axes.plot(trees.bytes, trees.accuracy, "s", color="tab:brown", label="forests")
    best = front(models, "bytes")
    axes.plot(best.bytes, best.accuracy, "-", color="tab:green", label="not beaten")
    axes.set(xscale="log", xlabel="bytes of the model", ylabel="accuracy")
    axes.legend(frameon=False)


def main(points="1"):
    models = means(pd.read_csv("out/networks.csv"), pd.read_csv("out/forests.csv"))
    columns = ["model", "accuracy", "bytes", "nanojoule"]
    front(models, "bytes")[columns].to_csv("out/front.csv", index=False, float_format="%.4g")
    plot(models, "out/front.png")
    rows = ["| claim | figure | holds |", "|---|---|---|"]
    rows += [
        f"| {claim} | {figure} | {'yes' if holds else 'no'} |"
        for claim, figure, holds in claims(models, float(points))
    ]
    Path("out/claims.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
