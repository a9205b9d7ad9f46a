"""Train one model, or name them all.

python train.py PROFILE                  one line for each model of the profile: KIND SIZE SEED
python train.py PROFILE KIND SIZE SEED   trains it and writes out/models/KIND-SIZE-SEED.npz or .json
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

import smaller


def models(told):
    """Every model of a profile: kind, size, seed."""
    sizes = [("network", width) for width in told["widths"]] + [("forest", trees) for trees in told["trees"]]
    return [(kind, size, seed) for kind, size in sizes for seed in told["seeds"]]


def network(width, seed, told, train_x, train_y):
    """Train a network with one hidden layer of `width`; its arrays by name."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((width,), max_iter=told["epochs"], tol=0, n_iter_no_change=1000, random_state=seed)
    with warnings.catch_warnings(
        action="ignore", category=ConvergenceWarning
    ):  # so many rounds is what each gets
        model.fit(train_x, train_y)
    layers = range(len(model.coefs_))
    return {f"w{i}": model.coefs_[i] for i in layers} | {f"b{i}": model.intercepts_[i] for i in layers}


def forest(trees, seed, train_x, train_y, test_x, test_y):
    """Train a forest; what the study needs to know of it."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(trees, random_state=seed).fit(train_x, train_y)
    grown = [tree.tree_ for tree in model.estimators_]
    return {
        "accuracy": model.score(test_x, test_y),
        "bytes": int(sum(tree.node_count for tree in grown)) * 16,
        "depth": float(
            np.mean([tree.decision_path(test_x.astype(np.float32)).sum(axis=1).mean() for tree in grown])
        ),
    }


def main(profile, *model):
    told = smaller.settings(profile)
    if not model:
        for each in models(told):
            print(*each)
        return
    kind, size, seed = model[0], int(model[1]), int(model[2])
    train_x, test_x, train_y, test_y = smaller.scans(told)
    folder = Path("out/models")
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "network":
        with open(folder / f"{kind}-{size}-{seed}.npz", "wb") as target:
            np.savez(target, **network(size, seed, told, train_x, train_y))
    else:
        facts = forest(size, seed, train_x, train_y, test_x, test_y)
        (folder / f"{kind}-{size}-{seed}.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
