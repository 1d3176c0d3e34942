"""After GRAM (Li et al. 2023): a soft prompt for a frozen CLIP is meta-learned from
unlabelled pairs, together with a function that corrects the gradient of later tuning.

Step 1, tasks out of pairs, is in `pseudo_tasks`; here is step 2. Both steps and their
purpose are the paper's. Its formulas were not found: the form of the regulator is that
of SUPMER (Pan et al. 2023), by partly the same authors.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.clip import CLIP
from stages.papers.vision_language.gram.pseudo_tasks import Features, Names, Tasks
from stages.training import fit, optimiser

INNER_RATE = 1.0  # alpha, the length of the step on the support set
CLIP_NORM = 1.0  # of the gradient of the outer loss
TINY = 1e-12  # keeps divisions defined

Prompt = Float[Tensor, "vectors width"]
Prompts = Float[Tensor, "tasks vectors width"]
Context = Float[Tensor, "tasks size"]

# ------------------------------------------------------------- a CLIP with soft prompts


def class_vectors(
    clip: CLIP, names: Names, prompts: Prompts
) -> Float[Tensor, "tasks classes size"]:
    """Return the vector of each class, of length 1: its name, read after the prompt of
    its task. All tasks are read at once.
    """
    before = prompts[:, None].expand(-1, names.shape[1], -1, -1)
    vectors = clip.encode_texts(names.flatten(0, 1), before.flatten(0, 1))
    return vectors.unflatten(0, names.shape[:2])


def logits(
    clip: CLIP, names: Names, prompts: Prompts, images: Features
) -> Float[Tensor, "tasks classes n classes"]:
    """Return the cosine of each picture with each class over the temperature."""
    classes = class_vectors(clip, names, prompts)
    return clip.compare(images, classes[:, None])  # of which eq. 1 is the softmax


def losses(
    clip: CLIP, names: Names, prompts: Prompts, images: Features
) -> Float[Tensor, " tasks"]:
    """Return each task's cross-entropy; `images[:, c]` show class c (eq. 1)."""
    own = logits(clip, names, prompts, images).log_softmax(-1)
    return -own.diagonal(dim1=1, dim2=3).mean((1, 2))


def gradient(clip: CLIP, names: Names, prompts: Prompts, images: Features) -> Prompts:
    """Return the gradient of each task's loss in its own prompt, without a graph."""
    prompts = prompts.detach().requires_grad_(True)
    total = losses(clip, names, prompts, images).sum()
    return torch.autograd.grad(total, prompts)[0]


# ----------------------------------------------------------------- the regulated step


class Regulator(nn.Module):
    """psi: turns a raw gradient into one that is meant to help in other looks, too.

    Args:
        width: of a prompt's vector.
        size: of the features that the gate reads.
        rank: of both maps.
        hidden: units of the gate.
        kept: c before any training, the share of the raw gradient.
    """

    def __init__(
        self,
        width: int = 64,
        size: int = 64,
        rank: int = 16,
        hidden: int = 24,
        kept: float = 0.88,
    ):
        super().__init__()
        self.first = low_rank(width, rank)
        self.second = low_rank(width, rank)
        self.gate = nn.Sequential(
            nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()
        )
        nn.init.zeros_(self.gate[2].weight)
        nn.init.constant_(self.gate[2].bias, float(np.log(kept / (1 - kept))))

    def forward(self, raw: Prompts, context: Context) -> Prompts:
        """Return the regulated gradient, given the mean feature of the pictures."""
        length = raw.norm(dim=-1, keepdim=True)
        scaled = raw / length.clamp(min=TINY) * raw.shape[-1] ** 0.5
        turned = self.second(self.first(scaled).relu())  # h, eq. 4
        turned = F.normalize(turned, dim=-1) * length  # row by row
        kept = self.gate(context)[..., None]  # c
        return (1 - kept) * turned + kept * raw  # eq. 5

    def miss(self, context: Context, alike: Float[Tensor, " tasks"]) -> Tensor:
        """Return how far the gate is from the likeness of the two looks (eq. 6)."""
        return (alike - self.gate(context)[:, 0]).square().mean()  # eq. 6


def low_rank(width: int, rank: int) -> nn.Sequential:
    """Make the map UVz + b. SUPMER has a ReLU after both maps, we have none after the
    second, so that each number may take either sign.
    """
    return nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))


def move(prompts: Tensor, direction: Prompts, rate: float) -> Prompts:
    """Go down a direction by the length `rate`, in each task."""
    length = direction.flatten(1).norm(dim=1)[:, None, None]
    return prompts - rate * direction / length.clamp(min=TINY)


def likeness(tasks: Tasks, regulated: Prompts, wanted: Prompts) -> Tensor:
    """Return how alike support and query are, (tasks): the mean of the cosines of their
    mean pictures and of their gradients, both brought to 0 to 1 (eq. 6).
    """
    centres = [images.mean((1, 2)) for images in (tasks.support, tasks.query)]
    looks = F.cosine_similarity(*centres)
    directions = F.cosine_similarity(regulated.flatten(1), wanted.flatten(1))
    return ((1 + looks) / 2 + (1 + directions) / 2) / 2


def outer_loss(
    clip: CLIP,
    initial: Prompt,
    regulator: nn.Module,
    tasks: Tasks,
    inner: float,
) -> Float[Tensor, ""]:
    """Return what meta-training minimises: the loss on the query sets after one step on
    the support sets, and how far the gate is off.

    The step is of first order: the prompt gets the gradient at the tuned prompt, the
    regulator its exact one, and the raw gradient is a constant.
    """
    names, support, query = tasks
    start = initial.detach().expand(len(names), -1, -1)
    raw = gradient(clip, names, start, support)  # eq. 2
    context = support.mean((1, 2))
    regulated = regulator(raw, context)
    tuned = move(initial, regulated, inner)  # eq. 2
    loss = losses(clip, names, tuned, query).mean()  # eq. 3
    wanted = gradient(clip, names, start, query)
    alike = likeness(tasks, regulated.detach(), wanted)
    return loss + regulator.miss(context, alike)  # eq. 6


def meta_train(
    clip: CLIP,
    prompt: Prompt,
    regulator: nn.Module,
    draw: Callable[[], Tasks],
    steps: int,
    rates: tuple[float, float],
    inner: float = INNER_RATE,
) -> Prompt:
    """Train an initial prompt and, in place, a regulator; return the prompt.

    Args:
        draw: gives the tasks of the next step.
        rates: of Adam, for the prompt and for the regulator.
        inner: alpha.
    """
    initial = nn.Parameter(prompt.clone())
    groups = [{"params": [initial], "lr": rates[0]}]
    groups += [{"params": [*regulator.parameters()], "lr": rates[1]}]

    def loss(step: int) -> Tensor:
        return outer_loss(clip, initial, regulator, draw(), inner)

    fit(loss, steps, optimiser(groups, "adam"), clip=CLIP_NORM)
    regulator.requires_grad_(False)
    return initial.detach()


@torch.no_grad()
def adapt(
    clip: CLIP,
    prompts: Prompts,
    regulator: nn.Module,
    names: Names,
    images: Features,
    rate: float,
    steps: int,
) -> Float[Tensor, "moments tasks vectors width"]:
    """Tune the prompt of each task on its few pictures; return the prompts before and
    after each step. The regulator stays as it is.
    """
    path, context = [prompts], images.mean((1, 2))
    for _ in range(steps):
        with torch.enable_grad():
            raw = gradient(clip, names, path[-1], images)
        path.append(move(path[-1], regulator(raw, context), rate))  # eq. 2
    return torch.stack(path)
