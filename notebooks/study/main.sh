#!/usr/bin/env bash
# The whole study from scratch:  ./main.sh [PROFILE [POINTS]]
# PROFILE is a table of study.toml (full: two to five minutes on two cores; quick: seconds); POINTS, see report.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
profile=${1:-full} points=${2:-1}

export OMP_NUM_THREADS=1 # sums are added in the same order everywhere; two models are trained at a time instead
mkdir -p out
python train.py "$profile" | xargs -P 2 -n 3 python train.py "$profile"
python compress.py "$profile"
python latency.py "$profile" >out/latency.txt
python report.py "$points"
cat out/claims.md
