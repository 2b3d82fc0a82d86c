#!/bin/sh
# The cards beside this file; all on one machine, whose load each card tells.
#   BUNDLE, FULL, DATA: bundles of trained runs, with a sieve, FULL at the published sizes; and their data; cascade.json
#   authors.json  AUTHORS: model.py of the authors' repository, which is not ours to ship
set -e
cd "$(dirname "$0")/../.."
crossgraph bench --rounds 7 --captions 64 --out experiments/speed
python benchmarks/score_growth.py experiments/speed
[ -z "$AUTHORS" ] || python benchmarks/score_speed.py "$AUTHORS" experiments/speed/authors.json
python benchmarks/model_ratios.py || echo "a model is under its goal"
python benchmarks/score_memory.py --out experiments/speed/memory.json
[ -z "$BUNDLE" ] || python benchmarks/cascade.py --bundle "$BUNDLE" --full "$FULL" --data "$DATA"
python benchmarks/tables.py docs/speed.md
