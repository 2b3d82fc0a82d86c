#!/usr/bin/env bash
# Are the explanations right? Pointing game, energy in the box, deletion and insertion of four runs. 2 cores, no GPU,
# about ten minutes. Needs demo/ (crossgraph demo), runs/flickr8k-{sgr,saf} (experiments/flickr8k/run.sh), and in
# data/coco-mini-open 76 photos of COCO val2017 under CC BY or CC BY-SA (images/) with captions.json and
# instances_boxes.json; data/ and runs/ are git-ignored.
set -euo pipefail
cd "$(dirname "$0")/../.."
crossgraph=.venv/bin/crossgraph
out=experiments/explanations
photos=data/coco-mini-open
export OMP_WAIT_POLICY=passive

[ -d $photos/features ] || $crossgraph extract $photos/images --out $photos/features
# nobody was trained on these photos: all 76 are the test split
.venv/bin/python - $photos <<'PYTHON'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
names = [image["file_name"] for image in json.loads((folder / "captions.json").read_text())["images"]]
(folder / "splits.json").write_text(json.dumps({"format_version": 1, "seed": 0, "splits": {"test": names}}))
PYTHON
for head in sgr saf; do
  $crossgraph evaluate demo/runs/$head --data demo/scenes --explanations --out $out/scenes-$head
  $crossgraph evaluate runs/flickr8k-$head --data $photos --explanations --out $out/coco-mini-$head
done
