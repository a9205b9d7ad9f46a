"""Make every trained network smaller in every way, and measure each: writes out/networks.csv and out/forests.csv.

python compress.py PROFILE
"""

import json
import sys
from pathlib import Path

import pandas as pd

import smaller

MODELS = Path("out/models")


def networks(told, table, test_x, test_y):
    """One row for each network, number of bits and share of weights dropped."""
    rows = []
    for width in told["widths"]:
        for seed in told["seeds"]:
            trained = smaller.Network.load(MODELS / f"network-{width}-{seed}.npz")
            for dropped in told["dropped"]:
                for bits in (32, *told["bits"]):
                    small = smaller.pruned(trained, dropped)
                    if bits < 32:
                        small = smaller.quantised(small, bits)
                    rows.append({
                        "width": width, "seed": seed, "dropped": dropped, "bits": bits,
                        "accuracy": small.accuracy(test_x, test_y), "bytes": small.bytes,
                        "nanojoule": smaller.network_nanojoule(small, table),
                    })  # fmt: skip
    return pd.DataFrame(rows)


def forests(told, table):
    """One row for each forest."""
    rows = []
    for trees in told["trees"]:
        for seed in told["seeds"]:
            facts = json.loads((MODELS / f"forest-{trees}-{seed}.json").read_text())
            rows.append({
                "trees": trees, "seed": seed, "accuracy": facts["accuracy"], "bytes": facts["bytes"],
                "nanojoule": smaller.forest_nanojoule(trees, facts["depth"], table),
            })  # fmt: skip
    return pd.DataFrame(rows)


def main(profile):
    told, table = smaller.settings(profile), smaller.energies()
    _, test_x, _, test_y = smaller.scans(told)
    networks(told, table, test_x, test_y).to_csv("out/networks.csv", index=False, float_format="%.6g")
    forests(told, table).to_csv("out/forests.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main(*sys.argv[1:])
