"""Scenes of simple shapes: data first, pixels second.

A scene is a row of attributes (what is there, where, in which colour, before which
ground, in which style); pictures, masks, boxes and captions are all computed from it.
Change an attribute and draw again for an edit or the next frame of a video; ask about
the attributes for a question. Every factor has its own stream of chance, so that
factors are independent of each other, and fixing one leaves the others as they were.
"""

from stages.worlds.shapes.geometry import boxes, masks
from stages.worlds.shapes.render import render
from stages.worlds.shapes.scenes import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    STYLES,
    TEXTURES,
    Choice,
    Classes,
    Scenes,
    caption,
    describe,
    sample,
)

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "SHAPES",
    "SIZES",
    "STYLES",
    "TEXTURES",
    "Choice",
    "Classes",
    "Scenes",
    "boxes",
    "caption",
    "describe",
    "masks",
    "render",
    "sample",
]
