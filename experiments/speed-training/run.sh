#!/bin/sh
# A training step of SGR and SAF at full size, published way and ours, with the largest sizes of processes that take one.
set -eu
cd "$(dirname "$0")/../.."
python benchmarks/train_step.py --batch 128 --repeat 1 --memory published --memory ours --memory ours-bf16 --out experiments/speed-training
# What share of the time training waits for data, with features larger than memory.
python benchmarks/train_waiting.py --out experiments/speed-training/waiting.json || echo "training waited"
