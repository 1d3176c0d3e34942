"""What keeps old classes without old data: distilled predictions, and penalties on
parameters or features.

Smith, Tian, Halbe, Hsu & Kira, "A Closer Look at Rehearsal-Free Continual Learning",
CVPR Workshops 2023, arXiv 2203.17269. In each task a network minimises

    L = L_BCE+KD + λ L_L2, L_EWC or L_FeatKD                             (eq. 5)

on the images of this task alone, beside a frozen copy of itself from the end of the
last task: the teacher.

Not found, so our choices: what a sigmoid head without teacher does with old classes (it
is told that they are absent), the layer of FeatKD (the features before the head), where
the labels of the Fisher information come from (drawn from the network itself), and its
sum over tasks.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

Logits = Float[Tensor, "batch classes"]
Features = Float[Tensor, "batch width"]


def bce(logits: Logits, targets: Logits) -> Float[Tensor, ""]:
    """Compute the binary cross-entropy of one sigmoid a class: a sum over
    classes, a mean over images.
    """
    every = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return every / len(logits)


def bce_kd(
    logits: Logits,
    labels: Int[Tensor, " batch"],
    own: slice,
    teacher: Logits | None = None,
) -> Float[Tensor, ""]:
    """Compute L_BCE+KD (eq. 1): new classes have their labels as targets, old
    ones the teacher's sigmoids (PredKD), or 0 without a teacher.

    Args:
        logits: of all classes, those to come among them, which are left out.
        labels: the class of each image, one of the task's `own`.
        own: the classes of this task.
        teacher: logits of the frozen network on the same images.
    """
    targets = F.one_hot(labels, logits.shape[1]).to(logits)
    if teacher is not None:
        old = slice(0, own.start)
        targets[:, old] = teacher[:, old].detach().sigmoid()
    return bce(logits[:, : own.stop], targets[:, : own.stop])  # eq. 1


def feature_distance(
    features: Features,
    before: Features,
) -> Float[Tensor, ""]:
    """Compute L_FeatKD (eq. 4): the squared distance of the features to the
    teacher's, a sum over the width, a mean over images.
    """
    return (features - before.detach()).square().sum(1).mean()  # eq. 4


class Penalty:
    """λ L_L2 or λ L_EWC (eqs. 2 and 3): Σ_j F_j (θ_j - a_j)², with one anchor a,
    where the parameters θ were at the end of the last task.

    F_j is λ for L2, and λ times the running sum of the tasks' Fisher information for
    EWC. (The chapter's other EWC has one anchor a task, and λ/2 for the λ here.)

    Args:
        parameters: θ; the first anchor is where they are now.
        first: F in task 1, for all of them: above 0 only where the start is worth
            staying near, as after pre-training.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], first: float = 0.0):
        self.parameters = parameters
        self.anchor = [p.detach().clone() for p in parameters]
        self.importance = [torch.full_like(p, first) for p in self.anchor]
        self.active = first > 0

    def __call__(self) -> Float[Tensor, ""] | float:
        """Return the penalty; 0.0 while F is zero."""
        if not self.active:
            return 0.0
        total = 0.0
        for f, p, anchor in zip(
            self.importance, self.parameters, self.anchor, strict=True
        ):
            total = total + (f * (p - anchor).square()).sum()  # eqs. 2, 3
        return total

    def move(self, importance: Sequence[Tensor]) -> None:
        """Anchor the parameters where they are, with another F."""
        self.anchor = [p.detach().clone() for p in self.parameters]
        self.importance = list(importance)
        self.active = True


@torch.no_grad()
def sampled_fisher(
    answer: Callable[[Mapping[str, Tensor], Tensor], Logits],
    parameters: Mapping[str, Tensor],
    images: Float[Tensor, "n ..."],
    sigmoid: bool,
    generator: torch.Generator,
    size: int = 32,
) -> list[Tensor]:
    """Estimate the diagonal of the Fisher information (of eq. 3), F_j =
    E_x E_{y~p(y given x)} [(∂_j log p(y given x))²], one tensor a parameter.

    Each image has one answer y, drawn from the network, and one gradient of its own:
    the square comes before the mean.

    Args:
        answer: maps parameters, by name, and images to logits.
        sigmoid: whether y is a set of classes, each with a probability of its own, or
            one class.
        size: how many gradients are held at a time.
    """

    def minus_log(given: Mapping[str, Tensor], image: Tensor, y: Tensor) -> Tensor:
        logits = answer(given, image[None])
        if sigmoid:
            return bce(logits, y[None])
        return F.cross_entropy(logits, y[None])

    total = [torch.zeros_like(p) for p in parameters.values()]
    each = vmap(grad(minus_log), (None, 0, 0))
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no rule for vmap
        for part in images.split(size):
            drawn = draw(answer(parameters, part), sigmoid, generator)
            gradients = each(parameters, part, drawn).values()  # (size, *shape) each
            for t, g in zip(total, gradients, strict=True):
                t += g.square().sum(0)
    return [t / len(images) for t in total]


def draw(logits: Logits, sigmoid: bool, generator: torch.Generator) -> Tensor:
    """Draw an answer for each image from the network's own distribution: a set of
    classes, (batch, classes) of zeros and ones, or one class, (batch,).
    """
    if sigmoid:
        chosen = torch.bernoulli(logits.sigmoid().cpu(), generator=generator)
        return chosen.to(logits)
    chosen = torch.multinomial(logits.softmax(-1).cpu(), 1, generator=generator)
    return chosen[:, 0].to(logits.device)
