"""The API keeps to its own description: requests made up from it, good and bad ones, find no contradiction."""

from __future__ import annotations

import io
import os
from typing import Any

import hypothesis
import numpy as np
import pytest
import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.config import SchemathesisConfig

EXAMPLES = int(os.environ.get("CROSSGRAPH_EXAMPLES", "15"))  # of each operation
pytestmark = pytest.mark.slow


@st.composite
def drawn_pictures(draw: st.DrawFn) -> bytes:
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, draw(st.sampled_from(["PNG", "JPEG", "WEBP"])))
    return file.getvalue()


for kind in ("image/png", "image/jpeg"):
    schemathesis.openapi.media_type(kind, drawn_pictures())


def test_every_operation_does_as_described(client: Any) -> None:
    config = SchemathesisConfig.from_dict({"generation": {"mode": "all"}})
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json(), config=config)
    schema.app = client.app
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:
        if operation.path.endswith("/events"):
            continue

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        def check(case: Any) -> None:
            case.call_and_validate(base_url="http://127.0.0.1:8000")

        check()
