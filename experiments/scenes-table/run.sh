#!/usr/bin/env bash
# Every model on drawn pictures with one budget: 500 steps of 16 pairs, seed 0, CPU. Some minutes a model on two
# cores, see the page's own columns. The list is recipes/table-scenes.yaml, the page docs/results.md; MODEL-SPLIT.json
# beside this file are the cards it is made from. Cards that are there are not measured again; what was stopped goes
# on.
set -euo pipefail
cd "$(dirname "$0")/../.."
make table TABLE_ARGS="--device cpu"
