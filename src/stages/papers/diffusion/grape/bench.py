"""Prompts, the pictures drawn for them, and how pictures are judged."""

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stages import zoo
from stages.papers.diffusion.grape.method import (
    Contents,
    Look,
    Pictures,
    mistakes,
    parsed,
)
from stages.papers.diffusion.grape.rivals import best_of
from stages.seeding import torch_rng
from stages.worlds.shapes import quads
from stages.zoo.quads import drawn


@cache
def network(name: str) -> nn.Module:
    """Load a base model, once."""
    return zoo.load(name)


class Bench:
    """Prompts with so many things each, and a generator that draws after them.

    Prompts and noise depend on the seed and the number of things alone, so that all
    arms, and both generators, are compared on the same ones.

    Args:
        generator: the name of the base model that draws.
        things: that each prompt asks for.
        prompts: how many.
        steps: denoiser calls a picture.
    """

    def __init__(
        self, generator: str, things: int, prompts: int, steps: int, seed: int
    ):
        self.generator = network(generator)
        self.things = things
        self.steps = steps
        self.seed = seed
        self.scenes = quads.sample(prompts, seed, things, ("prompts", things))
        self.captions = quads.captions(self.scenes)
        self.asked = parsed(self.captions)
        self._attempts: dict[int, Pictures] = {}

    def noise(self, what: str, number: int) -> Pictures:
        """Return the noise of an attempt, or of an edit, for all prompts."""
        chance = torch_rng(self.seed, "grape", what, self.things, number)
        shape = (len(self.scenes), 3, quads.SIDE, quads.SIDE)
        return torch.randn(shape, generator=chance)

    def attempt(self, number: int) -> Pictures:
        """Return a picture for each prompt, drawn from the noise of that number."""
        if number not in self._attempts:
            noise = self.noise("attempt", number)
            pictures = drawn(self.generator, self.captions, noise, self.steps)
            self._attempts[number] = pictures
        return self._attempts[number]

    def generate(self, number: int, rows: Tensor) -> Pictures:
        """Return an attempt for some of the prompts."""
        return self.attempt(number)[rows]

    def editor(self, name: str):
        """Return what carries out instructions, with a base model."""
        model = network(name)

        def edit(number: int, rows: Tensor, words: Tensor, source: Pictures):
            noise = self.noise("edit", number)[rows]
            return drawn(model, words, noise, self.steps, source)

        return edit


def eyes() -> Look:
    """Return the planner's eyes, a network that never sees the judge's templates."""
    reader = network("quads_reader")

    def look(pictures: Pictures) -> Contents:
        return Contents(*reader.read(pictures))

    return look


def chosen(table: Bench, allowed: Int[Tensor, " n"]) -> Pictures:
    """Choose among a prompt's first attempts, by the planner's count of mistakes."""
    look = eyes()
    candidates = [table.attempt(number) for number in range(int(allowed.max()))]
    wrong = [mistakes(look(c), table.asked).sum((1, 2)) for c in candidates]
    return best_of(torch.stack(candidates), torch.stack(wrong), allowed)


# ------------------------------------------------------------------ what the judge says


def answers(pictures: Pictures, scenes: quads.Quads) -> Bool[Tensor, "n questions"]:
    """Answer two questions about each thing that a prompt asks for, by templates."""
    right = quads.right(quads.read(pictures), scenes.contents)
    return right[scenes.shape > 0].view(len(scenes), -1)


def share(part: Tensor, whole: Tensor) -> float:
    """Return how much of `whole` is in `part`; nothing of nothing is 0."""
    return float((part & whole).sum() / whole.sum().clamp(min=1))


def judge_on_renders(prompts: int, seed: int) -> float:
    """Return the share of quarters of renders that the judge reads right."""
    scenes = quads.sample(prompts, seed, (0, 4), ("grape", "renders"))
    return float((quads.read(quads.render(scenes)) == scenes.contents).float().mean())


def editor_on_renders(
    name: str, prompts: int, steps: int, seed: int
) -> tuple[float, float]:
    """Return the share of edits of renders that an editor obeys, and of the other
    quarters that it keeps.
    """
    before = quads.sample(prompts, seed, (1, 4), ("grape", "edited"))
    after, words = quads.edits(before, seed, ("grape", "edited"))
    source = quads.render(before)
    chance = torch_rng(seed, "grape", "edited", "noise")
    noise = torch.randn(source.shape, generator=chance)
    found = quads.read(drawn(network(name), words, noise, steps, source))
    meant = before.contents != after.contents
    right: Float[Tensor, "n 4"] = (found == after.contents).float()
    return float(right[meant].mean()), float(right[~meant].mean())
