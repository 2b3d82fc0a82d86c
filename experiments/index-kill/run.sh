#!/usr/bin/env bash
# 100 random moments: `crossgraph index` killed by SIGKILL while it ran, run again to the end, compared with an undisturbed run.
# Two states by turns: a new library, and one of an earlier day with renamed, swapped, changed and removed files.
# Two CPU cores, Qdrant Edge as store, the stub region encoder of the tests; about ten minutes. Ends with an error
# when something reported done was lost, or the libraries differ.
set -euo pipefail
cd "$(dirname "$0")/../.."
for seed in 0 1 2 3; do
  python tests/references/index_kill.py --moments 25 --seed "$seed" --out "experiments/index-kill/seed$seed.json"
done
