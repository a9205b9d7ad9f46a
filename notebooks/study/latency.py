"""How long one reading takes on this machine: a line for each width of network. Seconds are nobody's result to repeat.

python latency.py PROFILE
"""

import sys
import time

import smaller

READINGS = 2000


def seconds(network, x):
    """Seconds that `network` takes to read one scan: the median of many."""
    taken = []
    for index in range(READINGS):
        scan = x[index % len(x)][None, :]
        start = time.perf_counter()
        network.read(scan)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[READINGS // 2]


def main(profile):
    told = smaller.settings(profile)
    _, test_x, _, _ = smaller.scans(told)
    for width in told["widths"]:
        network = smaller.Network.load(f"out/models/network-{width}-{told['seeds'][0]}.npz")
        print(f"{width:>4} wide: {1e6 * seconds(network, test_x):.1f} µs a scan")


if __name__ == "__main__":
    main(*sys.argv[1:])
