"""k-means, as it is taught: used by `kmeans.ipynb`, and as a command by `main.sh`.

python kmeans.py K POINTS.csv
"""

import sys

import numpy as np

ROUNDS = 50


def nearest(points, centres):
    """The number of the centre that is nearest to each point."""
    return ((points[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)


def moved(points, centres):
    """Each centre in the middle of the points that are nearest to it."""
    group = nearest(points, centres)
    return np.array(
        [points[group == k].mean(axis=0) if (group == k).any() else c for k, c in enumerate(centres)]
    )


def kmeans(points, k, seed=0):
    """Begin with `k` of the points, and move the centres until they stay."""
    centres = np.random.default_rng(seed).choice(points, k, replace=False)
    for _ in range(ROUNDS):
        before, centres = centres, moved(points, centres)
        if np.array_equal(before, centres):
            break
    return centres


def spread(points, centres):
    """The mean squared distance of a point from its centre."""
    return float(((points - centres[nearest(points, centres)]) ** 2).sum(axis=1).mean())


def main(k, path):
    points = np.loadtxt(path, delimiter=",")
    centres = kmeans(points, int(k))
    for x, y in sorted(centres.tolist()):
        print(f"{x:8.2f} {y:8.2f}")
    print(f"spread {spread(points, centres):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
