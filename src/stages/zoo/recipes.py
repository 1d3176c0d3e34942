"""The recipes there are, by name."""

import difflib

from stages.zoo import chain_thinkers, in_context, in_context_tasks, pictures
from stages.zoo.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *pictures.RECIPES,
        in_context.RECIPE,
        in_context_tasks.RECIPE,
        chain_thinkers.RECIPE,
    )
}


def find(name: str) -> Recipe:
    """Return the recipe of a base model. Raises ValueError naming the nearest."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise ValueError(
            f"no base model {name!r}{hint} `stages zoo list` shows all {len(RECIPES)}"
        )
    return RECIPES[name]
