"""Make pictures with captions: pictograms on grounds, with relations, counts and colours.

`scene(seed, index)` is a pure function; so is `hard_scene(seed, index)`, whose pictures come in pairs that
differ only in a relation, the counts or the colours. `write_scenes` makes a folder of them.
"""

from __future__ import annotations

from crossgraph.data.scenes.folder import Settings, write_scenes
from crossgraph.data.scenes.make import Object, Scene, hard_scene, scene

__all__ = ["Object", "Scene", "Settings", "hard_scene", "scene", "write_scenes"]
