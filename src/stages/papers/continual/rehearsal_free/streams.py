"""The three streams, and the networks that learn them: a perceptron on digits, a small
convolutional network on made-up characters, a transformer on Signs-R.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages import zoo
from stages.models import ViT, seeded
from stages.papers.continual.common import arms
from stages.papers.continual.common.arms import Result
from stages.papers.continual.common.loop import Budget, Encoded, in_parts, nearest_mean
from stages.papers.continual.common.streams import Stream
from stages.papers.continual.rehearsal_free.learner import Arm, learn
from stages.seeding import rng
from stages.training import pick_device
from stages.worlds import digits, glyphs

TASKS = 5
CHARACTERS = 20


def split_digits(seed: int) -> Stream:
    """Make Split-Digits: the ten digits in an order of the seed's own, two a task."""
    world = digits.load()
    place = torch.from_numpy(rng(seed, "classes").permutation(10)).argsort()
    parts = (
        world.train_images,
        place[world.train_labels],
        world.test_images,
        place[world.test_labels],
    )
    device = pick_device()
    return Stream(*(part.to(device) for part in parts), ways=10 // TASKS, classes=10)


def perceptron(seed: int) -> nn.Sequential:
    """Make the body of the perceptron 64-128-64-10, from random parameters."""
    with seeded(seed, "perceptron"):
        layers = nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU()
        return nn.Sequential(*layers).to(pick_device())


def characters(seed: int, train: int, test: int) -> Stream:
    """Make a stream of 20 made-up characters, from 5 alphabets of the seed's own, none
    of which the base model knows.

    Args:
        train, test: images of each character.
    """
    known = zoo.find("glyph_conv4").settings
    first = known.alphabets + TASKS * seed
    world = glyphs.characters(range(first, first + TASKS), each=known.characters)
    chosen = rng(seed, "classes").permutation(len(world))[:CHARACTERS]
    world = world[torch.from_numpy(chosen)]
    device = pick_device()

    def write(each: int, name: str) -> tuple[Tensor, Tensor]:
        labels = torch.arange(CHARACTERS).repeat_interleave(each)
        images = glyphs.write(
            world,
            labels,
            seed,
            unsteady=known.unsteady,
            stream=("stream", name),
            device=device,
        )
        return images, labels.to(device)

    images, labels = write(train, "train")
    test_images, test_labels = write(test, "test")
    ways = CHARACTERS // TASKS
    return Stream(images, labels, test_images, test_labels, ways, CHARACTERS)


def convolutions(seed: int, random: bool) -> nn.Sequential:
    """Return the body of the convolutional network, from the base model or, of the same
    shape, from random parameters of the seed's own.
    """
    recipe = zoo.find("glyph_conv4")
    with seeded(seed, "random start"):
        model = recipe.build(recipe.settings) if random else zoo.load("glyph_conv4")
    return model.layers.to(pick_device())


class Blocks(nn.Module):
    """The base model's transformer without its stem, which these arms do not train: a
    body that maps tokens to features.
    """

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit = vit

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch width"]:
        """Return the features."""
        return self.vit.features_from(tokens, 0)


@torch.no_grad()
def seen_by(body: Callable[[Tensor], Tensor], stream: Stream) -> Stream:
    """Return the stream with the outputs of a frozen body in the place of images."""
    return replace(
        stream,
        images=in_parts(body, stream.images),
        test_images=in_parts(body, stream.test_images),
    )


# What learns each stream: `learn(arm, budget)` returns the test logits after each task
# (once, for joint training), and how many parameters were trained.


class OnDigits:
    """Split-Digits and the perceptron, always from the same random start."""

    def __init__(self, seed: int):
        self.seed = seed
        self.stream = split_digits(seed)

    def learn(self, arm: Arm, budget: Budget) -> Result:
        """Teach the digits as an arm says."""
        return learn(arm, perceptron(self.seed), self.stream, budget, self.seed)


class OnCharacters:
    """Characters and the convolutional network, from either start.

    Args:
        train, test: images of each character.
    """

    def __init__(self, seed: int, train: int, test: int):
        self.seed = seed
        self.stream = characters(seed, train, test)

    def learn(self, arm: Arm | str, budget: Budget) -> Result:
        """Teach the characters as an arm says; score them by the nearest means of the
        base model's features if it is no arm.
        """
        if isinstance(arm, str):
            seen = seen_by(convolutions(self.seed, random=False), self.stream)
            pairs = (seen.images, seen.images, seen.test_images, seen.test_images)
            return Result(nearest_mean(Encoded(*pairs), seen))
        body = convolutions(self.seed, arm.random)
        if arm.trained != "head":
            return learn(arm, body, self.stream, budget, self.seed)
        seen = seen_by(body, self.stream)  # features, made once
        return learn(arm, nn.Identity(), seen, budget, self.seed)


class OnSigns:
    """Signs-R and the transformer.

    Args:
        ways: classes of each of the 5 tasks.
        train, test: images of each class.
    """

    def __init__(self, seed: int, ways: int, train: int, test: int):
        self.seed = seed
        self.world = arms.open_world(seed, TASKS, ways, train, test)
        self.stream = self.world.stream
        self.tokens = seen_by(self.world.vit.embed, self.stream)

    def learn(self, arm: Arm | str, budget: Budget) -> Result:
        """Teach the signs as an arm says, or by a method of the chapter, with its own
        rate.
        """
        if isinstance(arm, str):
            return arms.learn(arm, self.world, budget, self.seed)
        body = Blocks(self.world.vit)
        return learn(arm, body, self.tokens, budget, self.seed)
