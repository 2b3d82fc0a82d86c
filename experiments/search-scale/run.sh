#!/bin/sh
# Search at 100,000 and a million pictures; the stores' own cards go to experiments/store-scale.
# Takes hours on two cores, twenty gigabytes of memory and more of disk; keep the machine idle otherwise.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for count in ${1:-100000 1000000}; do
  python benchmarks/store_scale.py --count "$count" --keep "$work/store"
  python benchmarks/search_scale.py --count "$count" --store "$work/store" --folder "$work"
  python benchmarks/search_scale.py --count "$count" --store "$work/store" --folder "$work" \
    --regions 36 --embed 1024 --sim 256 --feature 2048
  rm -rf "$work/store"
done
python benchmarks/tables.py docs/*.md
