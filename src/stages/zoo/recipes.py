"""Where the recipe of each base model is; it is imported when it is asked for."""

import difflib
import importlib

from stages.zoo.recipe import Recipe

# A recipe that is the method of a paper lies in that paper's folder.
RECIPES: dict[str, str | Recipe] = {
    "vit_signs": "stages.zoo.signs:VIT_SIGNS",
    "vit_p4": "stages.zoo.scenes:VIT_P4",
    "glyph_conv4": "stages.zoo.characters:GLYPH_CONV4",
    "digits_clf": "stages.zoo.digits:CLASSIFIER",
    "digits_edm": "stages.zoo.digits:EDM",
    "quads_reader": "stages.zoo.quads:READER",
    "quads_base": "stages.zoo.quads:BASE",
    "quads_weak": "stages.zoo.quads:WEAK",
    "quads_strong": "stages.zoo.quads:STRONG",
    "quads_editor": "stages.zoo.quads:EDITOR",
    "overlay_detector": "stages.papers.diffusion.geom_erasing.recipe:RECIPE",
    "quads_editor_long": "stages.zoo.quads:LONG_EDITOR",
    "icl_linear": "stages.zoo.in_context:RECIPE",
    "icl_gpt": "stages.zoo.in_context_tasks:RECIPE",
    "village_gpt": "stages.zoo.village:RECIPE",
    "notes_gpt": "stages.zoo.notes:RECIPE",
    "tiny_clip": "stages.zoo.album:RECIPE",
    "picture_gpt": "stages.zoo.picture_talk:RECIPE",
    "picture_gpt_plain": "stages.zoo.picture_talk:PLAIN",
    "chain_gpt": "stages.zoo.chain_prose:RECIPE",
    "reason_gpt": (
        "stages.papers.post_training.reinforcement_mid_training.start:RECIPE"
    ),
    "chain_generator": "stages.papers.post_training.implicit_prm.generators:RECIPE",
    "chain_thinkers": "stages.papers.mechanisms.sim_cot.recipe:RECIPE",
}


def find(name: str) -> Recipe:
    """Import the recipe of a base model. Raises ValueError naming the nearest."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise ValueError(
            f"no base model {name!r}{hint} `stages zoo list` shows all {len(RECIPES)}"
        )
    place = RECIPES[name]
    if isinstance(place, Recipe):
        return place
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
