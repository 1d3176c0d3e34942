"""Base models: small networks that papers start from, with the recipe that trains each
and a card that vouches for it.

`load("vit_signs")` gives the shipped network, frozen. `stages zoo train NAME` makes it
anew.
"""

from stages.zoo.recipe import Recipe
from stages.zoo.recipes import RECIPES, find
from stages.zoo.store import ZooError, card, check, load, train

__all__ = ["RECIPES", "Recipe", "ZooError", "card", "check", "find", "load", "train"]
