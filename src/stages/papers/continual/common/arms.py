"""The methods that several papers of the chapter compare on Signs-R, at one size and
with the rates tuned for them.

The transformer is `vit_signs`. The paper of CODA-Prompt puts prompts into the first
five of twelve blocks; here they go into the last three of four: what enters block 1
never changes and is kept, which saves a third of the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from jaxtyping import Float
from torch import Tensor

from stages import zoo
from stages.models import ViT
from stages.papers.continual.common.coda import CodaPrompt
from stages.papers.continual.common.loop import (
    Budget,
    Encoded,
    FineTuned,
    encode,
    learn_stream,
    nearest_mean,
)
from stages.papers.continual.common.pools import L2P, DualPrompt
from stages.papers.continual.common.prompts import OnePrompt, Prompt, Prompted
from stages.papers.continual.common.streams import Stream, signs_r
from stages.training import pick_device

CODA = "CODA-Prompt"
DUAL = "DualPrompt"
L2PP = "L2P++"
ONE = "OnePrompt"
HEAD = "head only"
MEAN = "nearest mean"
FTPP = "FT++"

WIDTH = 64
BLOCKS = (1, 2, 3)
COMPONENTS = 40  # of the whole stream: a multiple of 5 and 20 tasks, at most the width
LENGTH = 8

# Adam's learning rate and the scale of initial prompts by method: of four candidates
# each the best on average over seeds 1000 and 1001, by the accuracy after the whole
# stream. The chosen rates lie inside the grids.
RATES: Mapping[str, float] = MappingProxyType(
    {CODA: 3e-3, DUAL: 3e-3, L2PP: 3e-3, ONE: 3e-3, HEAD: 3e-3, FTPP: 1e-5}
)
SCALES: Mapping[str, float] = MappingProxyType(
    {CODA: 4.0, DUAL: 1.0, L2PP: 1.0, ONE: 1.0}
)
# Where all classes are learnt at once, of three candidates each.
JOINT_RATES: Mapping[str, float] = MappingProxyType({CODA: 1e-2, ONE: 3e-2, HEAD: 3e-2})


@dataclass(frozen=True)
class World:
    """What all arms of a seed share: the base model, the stream, and what the model's
    frozen blocks make of it.
    """

    vit: ViT
    stream: Stream
    encoded: Encoded

    def in_tasks(self, tasks: int) -> "World":
        """Return the same images and classes in another number of tasks."""
        return replace(self, stream=self.stream.in_tasks(tasks))

    def joint(self) -> "World":
        """Return all tasks as one."""
        return self.in_tasks(1)


@dataclass(frozen=True)
class Result:
    """A stream learnt: the test logits after each task, how many parameters were
    trained, and the forward passes an image takes.
    """

    logits: Float[Tensor, "tasks test classes"]
    trained: int = 0
    passes: int = 1


def open_world(
    seed: int,
    tasks: int = 5,
    ways: int = 8,
    train: int = 200,
    test: int = 100,
    dual_shift: bool = False,
) -> World:
    """Load the base model, draw a seed's stream, and pass its images through the frozen
    network as far as the first prompt. The arguments are those of `signs_r`.
    """
    vit = zoo.load("vit_signs").to(pick_device())
    stream = signs_r(tasks, ways, seed, train=train, test=test, dual_shift=dual_shift)
    return World(vit, stream, encode(vit, stream, BLOCKS[0]))


def learn(
    method: str,
    world: World,
    budget: Budget,
    seed: int,
    *,
    components: int = COMPONENTS,
    rate: float | None = None,
    scale: float | None = None,
    coda: type[CodaPrompt] = CodaPrompt,
) -> Result:
    """Teach the world's stream by a method of this module.

    Args:
        budget: updates of a task, images in each; nearest means need none.
        components: the size of the prompt, as of `make_prompt`.
        rate, scale: in place of the tuned ones.
        coda: another form of CODA-Prompt, as of `make_prompt`.
    """
    if method == MEAN:
        return Result(nearest_mean(world.encoded, world.stream))
    tasks = len(world.stream)
    made = make_prompt(method, tasks, seed, components, scale, coda)
    learner = make_learner(method, world, made)
    logits = learn_stream(learner, world.stream, budget, rate or RATES[method], seed)
    return Result(logits, learner.trained, learner.passes)


def make_learner(
    method: str, world: World, prompt: Prompt | None
) -> Prompted | FineTuned:
    """Make the learner of a method, given its prompt."""
    if method == FTPP:
        return FineTuned(world.vit, world.stream)
    return Prompted(world.vit, prompt, world.stream, world.encoded)


def make_prompt(
    method: str,
    tasks: int,
    seed: int,
    components: int = COMPONENTS,
    scale: float | None = None,
    coda: type[CodaPrompt] = CodaPrompt,
) -> Prompt | None:
    """Make a method's prompt, None for one without.

    DualPrompt and L2P++ get as many parameters as CODA-Prompt with so many
    `components`, to within a tenth; OnePrompt is small by design. `coda` is the form
    of CODA-Prompt, an ablation perhaps.
    """
    if method in (HEAD, FTPP):
        return None
    scale = scale or SCALES[method]
    rows = len(BLOCKS) * components * (LENGTH + 2)  # CODA-Prompt's, of the width
    if method == ONE:
        return OnePrompt({1: 4, 2: 12, 3: 12}, WIDTH, scale, seed)
    if method == DUAL:
        # a general prompt of 6 in the first block; experts, each with a key, share
        # the rest
        expert = _even((rows - 6) / (2 * tasks) - 1)
        return DualPrompt(tasks, 6, expert, BLOCKS[:1], BLOCKS[1:], WIDTH, scale, seed)
    if method == L2PP:
        # longer prompts make up for the two blocks without
        length = _even(rows / components - 1)
        return L2P(components, length, 3, BLOCKS[:1], WIDTH, scale, seed)
    return coda(tasks, components, LENGTH, BLOCKS, WIDTH, scale, seed)


def _even(length: float) -> int:
    """Return the nearest even number, at least 2."""
    return 2 * max(1, round(length / 2))
