"""Region encoders are found by name, and a name alone says how features were made."""

from __future__ import annotations

import pytest
import references.tiny_regions  # noqa: F401  registers "tiny"

from crossgraph.core.errors import InputError
from crossgraph.vision.region_encoder import REGION_ENCODERS, full_name, load_region_encoder


def test_the_default_encoder_is_registered():
    assert "efficientnet-lite0" in REGION_ENCODERS


def test_a_mistyped_name_is_answered_by_the_nearest():
    with pytest.raises(InputError, match="did you mean 'efficientnet-lite0'"):
        load_region_encoder("efficientnet-light0")


def test_a_name_that_carries_its_precision_is_enough():
    assert load_region_encoder("efficientnet-lite0+bfloat16").name == "efficientnet-lite0+bfloat16"
    assert load_region_encoder("tiny").name == "tiny"
    assert full_name("tiny", "float32") == "tiny"


@pytest.mark.parametrize(("name", "precision"), [("tiny+float8", None), ("tiny+bfloat16", "float32"), ("tiny+", None)])
def test_a_name_and_a_precision_that_disagree_are_refused(name, precision):
    with pytest.raises(InputError, match="tiny"):
        load_region_encoder(name, precision)
