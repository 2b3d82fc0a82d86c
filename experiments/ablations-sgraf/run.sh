#!/usr/bin/env bash
# SGRAF's ablations on rendered scenes: data, eighteen trainings, evaluation, table, in order. CPU only; about half an
# hour of one core's work. Choices and the paper's figures: recipes/ablations-sgraf.yaml. One seed (0).
# What was stopped goes on when this file is run again.
set -euo pipefail
cd "$(dirname "$0")/../.."
crossgraph=$PWD/.venv/bin/crossgraph
here=$PWD/experiments/ablations-sgraf
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

mkdir -p runs/ablations-scenes
cd runs/ablations-scenes
$crossgraph scenes --out scenes
$crossgraph extract scenes/pictures --out scenes/features
$crossgraph sweep ablations-sgraf --data scenes --out runs/ablations --device cpu --jobs 2
# The same runs on pictures that each have a twin which differs in one fact; nothing is trained again.
$crossgraph sweep ablations-sgraf --data scenes --out runs/ablations --device cpu --jobs 2 --split hard
mkdir -p "$here/cards"
cp runs/ablations/table*.* "$here"
for card in $(find runs/ablations -name 'card*.json'); do
  variant=$(cut -d/ -f3 <<< "$card") split=test
  [[ $card == *hard* ]] && split=hard
  cp "$card" "$here/cards/$variant-$split.json"
done
