#!/bin/sh
# The cards beside this file; all on one machine, whose load each card tells.
#   BUNDLE, DATA: a bundle of a trained run, and its data; for cascade.json
#   authors.json  AUTHORS: model.py of the authors' repository, which is not ours to ship
set -e
cd "$(dirname "$0")/../.."
crossgraph bench --rounds 7 --captions 64 --out experiments/speed
python benchmarks/score_growth.py experiments/speed
[ -z "$AUTHORS" ] || python benchmarks/score_speed.py "$AUTHORS" experiments/speed/authors.json
python benchmarks/model_ratios.py || echo "a model is under its goal"
python benchmarks/score_memory.py --out experiments/speed/memory.json
[ -z "$BUNDLE" ] || python benchmarks/cascade.py --bundle "$BUNDLE" --data "$DATA"
python benchmarks/tables.py docs/speed.md
