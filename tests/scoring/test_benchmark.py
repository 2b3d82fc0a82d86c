"""What a pair's products come to is counted of every interaction model, in both precisions."""

from __future__ import annotations

import pytest

from crossgraph.models.base import MODELS
from crossgraph.scoring.benchmark import PRECISIONS, Setting, build, draw_codes, operations_of

SMALL = Setting(images=2, captions=2, words=3, regions=4, width=8)


@pytest.mark.parametrize("name", [name for name in sorted(MODELS) if MODELS[name].kind == "interaction"])
def test_operations_are_counted(name):
    model = build(name, SMALL)
    images, texts = draw_codes(model, SMALL)
    for precision in PRECISIONS:
        found = operations_of(model, images, texts, precision)
        assert found > 0 or (name == "vsepp-order" and found == 0)  # which compares without a product
