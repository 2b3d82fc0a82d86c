#!/usr/bin/env bash
# SAF and SGR on Flickr8k: data, features, training, evaluation, in order. 2 cores, no GPU, about two hours.
# Flickr8k is for non-commercial research and may not be redistributed: data/ and runs/ are git-ignored.
# Needs data/flickr8k/{images/,dataset_flickr8k.json} (Karpathy's layout, splits 6,000 / 1,000 / 1,000).
# Every step goes on where it was stopped when this file is run again.
set -euo pipefail
cd "$(dirname "$0")/../.."
crossgraph=.venv/bin/crossgraph
export OMP_WAIT_POLICY=passive
# Tensors of 50 MB come and go at every step: keep glibc from returning them to the kernel each time.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=20000000000

$crossgraph extract data/flickr8k/images --out data/flickr8k/features
for head in saf sgr; do
  run=runs/flickr8k-$head resume=
  [ -d $run ] && resume=--resume
  $crossgraph train sgraf-$head-f8k --data data/flickr8k --out $run $resume
done
$crossgraph evaluate runs/flickr8k-saf --data data/flickr8k --split test --out experiments/flickr8k/saf
$crossgraph evaluate runs/flickr8k-sgr --data data/flickr8k --split test --out experiments/flickr8k/sgr
$crossgraph evaluate runs/flickr8k-saf runs/flickr8k-sgr --data data/flickr8k --split test --out experiments/flickr8k/sgraf
