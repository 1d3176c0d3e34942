"""The book's figures: one style, curves and scores over seeds, tables, verdicts, source
listings and sliders.
"""

from stages.figures.curves import curves, heatmap, scores
from stages.figures.labels import label_lines
from stages.figures.listings import Listing, listing
from stages.figures.scoreboard import (
    evidence_state,
    glued,
    scoreboard,
    state_in_words,
    summary,
)
from stages.figures.slider import Slider, slider
from stages.figures.style import (
    DIVERGING,
    GRID,
    MUTED,
    SEQUENTIAL,
    SURFACE,
    TEXT,
    VERDICTS,
    WIDTH,
    Look,
    Picture,
    headline,
    palette,
    png,
    readable,
    show,
    style,
    use_style,
)
from stages.figures.tables import Table, table
from stages.figures.verdicts import badge, banner, gate_table, verdict_table

__all__ = [
    "DIVERGING",
    "GRID",
    "MUTED",
    "SEQUENTIAL",
    "SURFACE",
    "TEXT",
    "VERDICTS",
    "WIDTH",
    "Listing",
    "Look",
    "Picture",
    "Slider",
    "Table",
    "badge",
    "banner",
    "curves",
    "evidence_state",
    "gate_table",
    "glued",
    "headline",
    "heatmap",
    "label_lines",
    "listing",
    "palette",
    "png",
    "readable",
    "scoreboard",
    "scores",
    "show",
    "slider",
    "state_in_words",
    "style",
    "summary",
    "table",
    "use_style",
    "verdict_table",
]
