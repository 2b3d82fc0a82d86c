"""Bundles: a retriever and a re-ranker over the same region features, with short-list sizes and calibration."""

from crossgraph.bundle.bundle import Bundle, EncodedPictures, EncodedText
from crossgraph.bundle.calibration import Calibration
from crossgraph.bundle.folder import load_bundle, save_bundle
from crossgraph.bundle.short_list import ShortList

__all__ = ["Bundle", "Calibration", "EncodedPictures", "EncodedText", "ShortList", "load_bundle", "save_bundle"]
