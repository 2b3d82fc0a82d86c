#!/bin/sh
# Search at 100,000 and a million pictures; the stores' own cards go to experiments/store-scale.
# A million takes two hours on two cores and, with its files in memory as for the cards here, twenty gigabytes; keep the
# machine idle otherwise. FOLDER is where the files are made.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d -p "${FOLDER:-/dev/shm}")
trap 'rm -rf "$work"' EXIT
for count in ${1:-100000 1000000}; do
  python benchmarks/store_scale.py --count "$count" --folder "$work" --keep "$work/store"
  python benchmarks/search_scale.py --count "$count" --store "$work/store" --folder "$work"
  python benchmarks/search_scale.py --count "$count" --store "$work/store" --folder "$work" \
    --regions 36 --embed 1024 --sim 256 --feature 2048
  rm -rf "$work/store"
done
python benchmarks/tables.py docs/*.md
