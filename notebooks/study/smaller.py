"""Digits, models that read them, and ways to make such a model smaller.

Used by `train.py`, `compress.py`, `report.py` and `study.ipynb`. Arrays of scans have one row of 64 grey levels (0 to 1) each.
"""

import csv
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def settings(profile):
    """The parameters of one profile of `study.toml`, those of the data among them."""
    told = tomllib.loads((HERE / "study.toml").read_text())
    return told["data"] | told[profile]


def scans(told):
    """Read the scans that scikit-learn ships: ``(train_x, test_x, train_y, test_y)``, the training scans moved about."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        digits.data / 16,
        digits.target,
        test_size=told["test_share"],
        stratify=digits.target,
        random_state=told["seed"],
    )
    reach = range(-told["shift"], told["shift"] + 1)
    images = train_x.reshape(-1, 8, 8)
    moved = [np.roll(images, (down, right), axis=(1, 2)).reshape(-1, 64) for down in reach for right in reach]
    return np.concatenate(moved), test_x, np.tile(train_y, len(moved)), test_y


@dataclass(frozen=True)
class Network:
    """A network of dense layers with ReLU between them.

    Attributes
    ----------
    weights, biases
        One array for each layer: (from, to), and (to,).
    bits
        Bits that each weight is kept in.
    """

    weights: tuple
    biases: tuple
    bits: int = 32

    @classmethod
    def load(cls, path):
        """Read what `train.py` wrote."""
        with np.load(path) as arrays:
            layers = len(arrays.files) // 2
            return cls(
                tuple(arrays[f"w{i}"] for i in range(layers)), tuple(arrays[f"b{i}"] for i in range(layers))
            )

    def read(self, x):
        """The digit that each row of `x` is taken for."""
        for i, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weights + biases
            if i + 1 < len(self.weights):
                x = np.maximum(x, 0)
        return x.argmax(axis=1)

    def accuracy(self, x, y):
        """Share of scans that are read right."""
        return float((self.read(x) == y).mean())

    @property
    def kept(self):
        """Weights that are not nought."""
        return int(sum(np.count_nonzero(w) for w in self.weights))

    @property
    def bytes(self):
        """Bytes to store it: the weights that are not nought, one bit for each place, biases in 32 bits."""
        places = sum(w.size for w in self.weights)
        sparse = self.kept < places
        return (self.kept * self.bits + places * sparse) / 8 + 4 * sum(b.size for b in self.biases)


def quantised(network, bits):
    """Round the weights of each layer to ``2**bits - 1`` evenly spaced levels around nought."""
    steps = 2 ** (bits - 1) - 1
    rounded = []
    for weights in network.weights:
        scale = np.abs(weights).max() / steps
        rounded.append(np.round(weights / scale) * scale)
    return replace(network, weights=tuple(rounded), bits=bits)


def pruned(network, dropped):
    """Set the smallest share `dropped` of the weights of each layer to nought."""
    thinned = []
    for weights in network.weights:
        limit = np.quantile(np.abs(weights), dropped)
        thinned.append(np.where(np.abs(weights) < limit, 0, weights))
    return replace(network, weights=tuple(thinned))


def energies():
    """Picojoules of an operation on so many bits (45 nm, after Horowitz, ISSCC 2014), by (name, bits)."""
    with open(HERE / "data" / "energy.csv", newline="") as rows:
        return {(row["operation"], int(row["bits"])): float(row["picojoule"]) for row in csv.DictReader(rows)}


def network_nanojoule(network, table):
    """Energy to read one scan: each kept weight is fetched, multiplied and added."""
    width = 8 if network.bits <= 8 else 32
    fetched = table["fetch", 32] * network.bits / 32
    return network.kept * (fetched + table["multiply", width] + table["add", width]) / 1000


def forest_nanojoule(trees, depth, table):
    """Energy to read one scan: in each tree `depth` nodes are fetched (feature, limit, two children) and compared."""
    return trees * depth * (4 * table["fetch", 32] + table["compare", 32]) / 1000
