"""What NeuMeta is compared with, and the one loop in which all of them are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.papers.scaling.neumeta.method import (
    Manifold,
    MovingAverage,
    Weights,
    morph,
    permute,
    reconstruction,
    regularisers,
)
from stages.seeding import rng, torch_rng
from stages.training import StackedMLP, cosine, fit, optimiser
from stages.worlds import digits

AnyWidth = Callable[..., Weights]  # from a width to the six tensors of that network


@dataclass(frozen=True)
class Images:
    """Handwritten digits, 8x8, as rows of pixels; training and test are disjoint."""

    train: Float[Tensor, "train 64"]
    train_labels: Int[Tensor, " train"]
    test: Float[Tensor, "test 64"]
    test_labels: Int[Tensor, " test"]


def split(train: int, test: int, seed: int) -> Images:
    """Draw training and test images from all of scikit-learn's 1,797.

    Raises:
        ValueError: there are not as many images.
    """
    world = digits.load()
    images = torch.cat([world.train_images, world.test_images])
    labels = torch.cat([world.train_labels, world.test_labels])
    if train + test > len(images):
        raise ValueError(
            f"asked for {train} training and {test} test images; there are"
            f" {len(images)} in all"
        )
    order = torch.from_numpy(rng(seed, "images").permutation(len(images)))
    first = order[:train]
    second = order[train : train + test]
    return Images(images[first], labels[first], images[second], labels[second])


def classify(weights: Weights, images: Float[Tensor, "n 64"]) -> Tensor:
    """Compute the logits of the perceptron with these six tensors."""
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        images = F.linear(images, weight, bias).relu()
    return F.linear(images, *weights[-2:])


def accuracy(weights: Weights, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that are classified rightly, in per cent."""
    right = classify(weights, images).argmax(1) == labels
    return 100 * float(right.float().mean())


def initial(width: int, seed: int) -> Weights:
    """Draw the weights of a fresh perceptron 64-h-h-10."""
    stack = StackedMLP((64, width, width, 10), [seed])
    return [p.detach() for p in stack.member(0).parameters()]


# ------------------------------------------------------ networks of more than one width


class Slimmable(nn.Module):
    """One set of weights; a network of width h uses the first h neurons of a layer."""

    def __init__(self, start: Weights):
        super().__init__()
        self.weights = nn.ParameterList(w.clone() for w in start)

    def forward(self, width: int) -> Weights:
        """Cut the network of a width out of the full one."""
        return cut(list(self.weights), width)


def cut(weights: Weights, width: int) -> Weights:
    """Keep the first `width` neurons of both hidden layers."""
    w1, b1, w2, b2, w3, b3 = weights
    return [w1[:width], b1[:width], w2[:width, :width], b2[:width], w3[:, :width], b3]


def by_l1(weights: Weights) -> Weights:
    """Put first the neurons whose incoming weights have the largest L1 norm."""
    norms = [weights[layer].abs().sum(1) for layer in (0, 2)]
    return permute(weights, *(norm.argsort(descending=True) for norm in norms))


class Grid(nn.Module):
    """One set of weights as a picture; a network of width h is that picture, resized.

    It samples at NeuMeta's relative positions and divides by the fan-in as NeuMeta
    does. It lacks the function that makes the weights, and with it noise, the first
    reconstruction, the moving average and the mean of samples.
    """

    def __init__(self, start: Weights):
        super().__init__()
        self.weights = nn.ParameterList(w.clone() for w in start)

    def forward(self, width: int) -> Weights:
        """Resize the network to a width."""
        w1, b1, w2, b2, w3, b3 = self.weights
        resize = interpolation(len(w1), width)
        fan_in = width / len(w1)
        inner = resize @ w2 @ resize.T / fan_in
        return [
            resize @ w1,
            resize @ b1,
            inner,
            resize @ b2,
            w3 @ resize.T / fan_in,
            b3,
        ]


@cache
def interpolation(old: int, new: int) -> Float[Tensor, "new old"]:
    """Return the matrix that reads a row of `old` values at `new` relative positions
    i / new, linearly between its neighbours.
    """
    places = (torch.arange(new) * old / new).clamp(max=old - 1)
    return (1 - (places[:, None] - torch.arange(old)).abs()).clamp(min=0)


# ---------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Recipe:
    """How an arm is trained.

    Attributes:
        lr: AdamW's rate; it rises over `warmup` and falls along a cosine.
        updates, warmup, batch: of the classifier's loss.
        weight_decay, clip: AdamW's, and the largest norm of all gradients together;
            reconstruction alone has torch's own decay, and no limit.
        reconstruction: updates of reconstruction alone, before the classifier's.
        decay: λ, of the norms of the sampled weights.
        noise, samples, keep: a, K and the moving average's keep rate.
        hidden, layers, frequencies: of each residual MLP.
    """

    lr: float
    updates: int = 1500
    warmup: int = 50
    batch: int = 64
    weight_decay: float = 1e-2
    clip: float = 1.0
    reconstruction: int = 300
    decay: float = 1e-4
    noise: float = 0.5
    samples: int = 50
    keep: float = 0.995
    hidden: int = 64
    layers: int = 3
    frequencies: int = 6


def train(
    module: nn.Module,
    sample: Callable[[int], Weights],
    widths: Sequence[int],
    images: Images,
    recipe: Recipe,
    seed: int,
    extra: Callable[[Weights], Tensor] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Take `recipe.updates` steps on the cross-entropy, each at a width of its own.

    Args:
        module: whose parameters are trained.
        sample: makes the weights at a width.
        widths: one is drawn uniformly at each step.
        extra: what is added to the cross-entropy.
    """
    steps = recipe.updates
    drawn = rng(seed, "widths").choice(np.array(widths), size=steps)
    shown = rng(seed, "batches").integers(len(images.train), size=(steps, recipe.batch))
    shown = torch.from_numpy(shown)

    def loss(step: int) -> Tensor:
        weights = sample(int(drawn[step]))
        logits = classify(weights, images.train[shown[step]])
        value = F.cross_entropy(logits, images.train_labels[shown[step]])
        return value + extra(weights) if extra else value

    decay = recipe.weight_decay
    adam = optimiser(module.parameters(), "adamw", recipe.lr, weight_decay=decay)
    schedule = cosine(steps, recipe.warmup)
    fit(loss, steps, adam, schedule=schedule, clip=recipe.clip, after_step=after_step)


def learn_one(width: int, images: Images, recipe: Recipe, seed: int) -> Weights:
    """Train a perceptron for its own width."""
    module = nn.ParameterList(initial(width, seed))
    train(module, lambda _: list(module), [width], images, recipe, seed)
    return [p.detach() for p in module]


def learn_shared(
    module: Slimmable | Grid,
    widths: Sequence[int],
    images: Images,
    recipe: Recipe,
    seed: int,
) -> AnyWidth:
    """Train weights that several widths share."""
    train(module, module, widths, images, recipe, seed)
    return torch.no_grad()(module.forward)


def fresh_manifold(base: Weights, recipe: Recipe, seed: int) -> Manifold:
    """Make the function that has not learnt anything yet."""
    return Manifold(base, seed, recipe.hidden, recipe.layers, recipe.frequencies)


def learn_manifold(
    base: Weights,
    widths: Sequence[int],
    images: Images,
    recipe: Recipe,
    seed: int,
) -> AnyWidth:
    """Train NeuMeta on a base network: reconstruction first, then at random widths.

    With `recipe.reconstruction` 0 the base is not reconstructed at any time.
    """
    full = len(base[0])
    manifold = fresh_manifold(base, recipe, seed)
    chance = torch_rng(seed, "noise")

    def sample(width: int) -> Weights:
        return manifold(width, recipe.noise, chance)

    if recipe.reconstruction:
        steps = recipe.reconstruction
        adam = optimiser(manifold.parameters(), "adamw", recipe.lr)
        schedule = cosine(steps, min(recipe.warmup, steps - 1))
        fit(
            lambda _: reconstruction(sample(full), base), steps, adam, schedule=schedule
        )
    target = base if recipe.reconstruction else None
    average = MovingAverage(manifold, recipe.keep)
    train(
        manifold,
        sample,
        widths,
        images,
        recipe,
        seed,
        extra=lambda weights: regularisers(weights, target, recipe.decay),
        after_step=lambda _: average.update(manifold),
    )

    def at(width: int, samples: int = recipe.samples) -> Weights:
        chance = torch_rng(seed, "test noise", width)
        return morph(average.module, width, samples, recipe.noise, chance)

    return at
