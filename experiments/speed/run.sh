#!/bin/sh
# The cards beside this file; all on one machine, whose load each card tells.
#   authors.json  AUTHORS: model.py of the authors' repository, which is not ours to ship
set -e
cd "$(dirname "$0")/../.."
crossgraph bench --rounds 7 --captions 64 --out experiments/speed
python benchmarks/score_growth.py experiments/speed
[ -z "$AUTHORS" ] || python benchmarks/score_speed.py "$AUTHORS" experiments/speed/authors.json
