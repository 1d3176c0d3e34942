"""Streams of pictures with several labels each, of which a task tells only its own; and
what learners are scored by.

Shapes-ML mirrors COCO cut into tasks: a picture shows one to four objects, and their
classes, a colour and a shape each, belong to several tasks. Whoever learns task t is
given pictures that show at least one of its classes, and the answers for these classes
alone; other objects are there, and nobody says so.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stages.evidence import Outcome, in_setting
from stages.models import ViT, seeded
from stages.papers.continual.common.loop import FineTuned, new_head
from stages.papers.continual.common.prompts import Prompted
from stages.seeding import rng, torch_rng
from stages.training import pick_device
from stages.worlds import shapes
from stages.worlds.shapes import SHAPES, Classes

ML_COLOURS = ("red", "yellow", "green", "blue")
ML_SIZE, ML_PLACEMENTS = (
    (0.13, 0.22),
    8,
)  # as the base model vit_p4 saw objects: small, and hardly ever hidden
Scores = Float[Tensor, "n classes"]
Answers = Bool[Tensor, "n classes"]
Features = Float[Tensor, "n width"]


@dataclass(frozen=True)
class MultiLabelStream:
    """Tasks of new classes. Classes are numbered as they come: task t has the next
    `sizes[t]` of them.

    `answers` holds all classes that a picture shows, those hidden from its task
    included: only `labels` is for learning. `owner` is the task that a training picture
    belongs to.
    """

    images: Float[Tensor, "n 3 side side"]
    answers: Answers
    owner: Int[Tensor, " n"]
    test_images: Float[Tensor, "test 3 side side"]
    test_answers: Bool[Tensor, "test classes"]
    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def classes(self) -> int:
        """How many classes there are in all."""
        return len(self.names)

    def rows(self, task: int) -> Int[Tensor, " rows"]:
        """Return where a task's training pictures are."""
        return (self.owner == task).nonzero()[:, 0]

    def own(self, task: int) -> slice:
        """Return the classes of a task."""
        return slice(sum(self.sizes[:task]), sum(self.sizes[: task + 1]))

    def labels(
        self, rows: Int[Tensor, " batch"], task: int
    ) -> Float[Tensor, "batch own"]:
        """Return what the task tells of training pictures: 0 or 1 for each of its own
        classes, and no more.
        """
        return self.answers[rows, self.own(task)].float()

    def loss(
        self, logits: Float[Tensor, "batch own"], rows: Int[Tensor, " batch"], task: int
    ) -> Float[Tensor, ""]:
        """Compute the loss of a task's own logits on training pictures: no other class
        has any part in it.
        """
        return own_loss(logits, self.labels(rows, task))

    def tasks_in(self, answers: Answers) -> Bool[Tensor, "n tasks"]:
        """Return which tasks' classes pictures show."""
        return torch.stack([part.any(1) for part in answers.split(self.sizes, 1)], 1)

    def joint(self) -> "MultiLabelStream":
        """Return all tasks as one, with nothing hidden."""
        return replace(self, owner=torch.zeros_like(self.owner), sizes=(self.classes,))


def shapes_ml(
    sizes: Sequence[int],
    seed: int,
    *,
    train: int = 250,
    test: int = 600,
    objects: tuple[int, int] = (1, 4),
    styles: Sequence[str] = ("photo",),
) -> MultiLabelStream:
    """Draw Shapes-ML: classes, a shape in a colour, in an order of the seed's own.

    One object of a training picture is of its task, each class equally often; the
    others are of any class of the stream. Texture, place, size, rotation and ground say
    nothing.

    Args:
        sizes: classes of each task, at most 24 in all.
        train, test: pictures of each task, and to test on, which are the same for all
            tasks.
        objects: the fewest and the most in a picture.
        styles: of the pictures, as many of each.

    Raises:
        ValueError: there are not so many classes.
    """
    everything, count = Classes.product(shape=SHAPES[:6], colour=ML_COLOURS), sum(sizes)
    if count > len(everything):
        raise ValueError(
            f"{count} classes are too many; Shapes-ML has {len(everything)}"
        )
    classes = everything[
        torch.from_numpy(rng(seed, "classes").permutation(len(everything))[:count])
    ]
    vocabulary, device = (
        torch.tensor([shapes.STYLES.index(style) for style in styles]),
        pick_device(),
    )

    def draw(
        n: int, name: str, *more: int, first: slice | None = None
    ) -> tuple[Tensor, Tensor]:
        labels = torch.from_numpy(
            rng(seed, "shapes-ml", name, *more).integers(count, size=(n, objects[1]))
        )
        if first is not None:
            labels[:, 0] = first.start + torch.arange(n) % (first.stop - first.start)
        scenes = shapes.sample(
            n,
            seed,
            objects=objects,
            classes=classes,
            labels=labels,
            texture=shapes.TEXTURES[:4],
            style=vocabulary[torch.arange(n) % len(vocabulary)],
            size=ML_SIZE,
            placements=ML_PLACEMENTS,
            stream=("shapes-ml", name, *more),
        )
        return shapes.render(scenes.to(device)), classes.in_scene(scenes).to(device)

    ends = [sum(sizes[: t + 1]) for t in range(len(sizes))]
    parts = [
        draw(train, "train", t, first=slice(ends[t] - sizes[t], ends[t]))
        for t in range(len(sizes))
    ]
    images, answers = (torch.cat(part) for part in zip(*parts, strict=True))
    owner = torch.arange(len(sizes), device=device).repeat_interleave(train)
    return MultiLabelStream(
        images, answers, owner, *draw(test, "test"), tuple(sizes), tuple(classes.names)
    )


def own_loss(
    logits: Float[Tensor, "batch own"], labels: Float[Tensor, "batch own"]
) -> Float[Tensor, ""]:
    """Compute the binary cross-entropy, averaged over pictures and a task's own
    classes.
    """
    return F.binary_cross_entropy_with_logits(logits, labels)


def mean_average_precision(scores: Scores, answers: Answers) -> float:
    """Return mAP in per cent: the average precision of each class over all pictures,
    averaged over classes.

    A class that no picture shows has none, and is left out. mAP looks at each class by
    itself: what one class's scores are beside another's does not count. Raises
    ValueError when there is no class left.
    """
    there = answers.any(0)
    if not there.any():
        raise ValueError(
            "no picture shows any class: the average precision is undefined"
        )
    return 100 * float(
        average_precision_score(
            answers[:, there].cpu().numpy(), scores[:, there].cpu().numpy()
        )
    )


def mean_auc(scores: Scores, answers: Answers) -> float:
    """Return the mean over classes of the area under the ROC curve in per cent: unlike
    average precision, what chance reaches does not depend on how common a class is.
    Classes that all or no pictures show are left out.
    """
    both = answers.any(0) & ~answers.all(0)
    return 100 * float(
        roc_auc_score(answers[:, both].cpu().numpy(), scores[:, both].cpu().numpy())
    )


def f1(scores: Scores, answers: Answers, threshold: float) -> tuple[float, float]:
    """Return OF1 and CF1 in per cent, when classes with scores above one threshold for
    all are said to be there.

    OF1 counts over all classes together; CF1 is the harmonic mean of precision and
    recall, each averaged over classes first. A class that is never said to be there has
    precision 0.
    """
    said = scores > threshold
    hits, told, true = (
        part.sum(0).double() for part in (said & answers, said, answers)
    )
    precision, recall = hits / told.clamp(min=1), hits / true.clamp(min=1)
    overall = 2 * hits.sum() / (told.sum() + true.sum())
    by_class = (
        2
        * precision.mean()
        * recall.mean()
        / (precision.mean() + recall.mean()).clamp(min=1e-12)
    )
    return 100 * overall.item(), 100 * by_class.item()


def best_f1(scores: Scores, answers: Answers, tried: int = 200) -> tuple[float, float]:
    """Return the highest OF1 and the highest CF1 that one threshold for all classes can
    reach, each at its own.
    """
    levels = torch.linspace(0.3, 1, tried, device=scores.device, dtype=scores.dtype)
    found = [
        f1(scores, answers, level)
        for level in scores.flatten().quantile(levels).unique().tolist()
    ]
    return max(overall for overall, _ in found), max(by_class for _, by_class in found)


MAP, LAST, AVERAGE = "mAP", in_setting("mAP", "last"), in_setting("mAP", "average")
F1_CODE, CODE_LOGIT, F1_BEST, AXES = (
    "F1 at threshold 0.8",
    math.log(4),
    "F1 at the best threshold",
    ("OF1", "CF1"),
)
STRATUM, STRATA, FORGETTING = "mAP by tasks present", (1, 2, 3), "forgetting"


def present(name: str, tasks: int) -> str:
    """Name an arm as scored on test pictures that show classes of so many tasks (3: of
    three or more).
    """
    return f"{name}, {tasks}{'+' if tasks == STRATA[-1] else ''} present"


def judge(
    outcome: Outcome,
    name: str,
    logits: Float[Tensor, "phases test classes"],
    stream: MultiLabelStream,
) -> None:
    """Score an arm by its logits after each task."""
    answers, owns = stream.test_answers, [stream.own(t) for t in range(len(stream))]
    so_far = []
    for own, phase in zip(owns, logits, strict=False):
        told = answers[:, : own.stop]
        some = told.any(
            1
        )  # a picture without any class seen so far has no place in the test
        so_far.append(mean_average_precision(phase[some, : own.stop], told[some]))
    last, tasks = logits[-1], stream.tasks_in(answers).sum(1).clamp(max=STRATA[-1])
    if len(logits) < len(owns):  # joint: one phase
        so_far = [mean_average_precision(last, answers)]
    else:
        after, end = (
            [
                mean_average_precision(x[:, own], answers[:, own])
                for own, x in zip(owns, xs, strict=True)
            ]
            for xs in (logits, [last] * len(owns))
        )
        outcome.score(
            name,
            FORGETTING,
            sum(a - e for a, e in zip(after, end, strict=True)) / (len(owns) - 1),
        )
    outcome.score(name, LAST, so_far[-1])
    outcome.score(name, AVERAGE, sum(so_far) / len(so_far))
    outcome.curve(name, MAP, range(1, len(so_far) + 1), so_far)
    strata = [
        mean_average_precision(last[tasks == k], answers[tasks == k]) for k in STRATA
    ]
    ranks = [mean_auc(last[tasks == k], answers[tasks == k]) for k in STRATA]
    for k, value in zip(STRATA, strata, strict=True):
        outcome.score(present(name, k), STRATUM, value)
    outcome.curve(name, STRATUM, STRATA, strata)
    outcome.curve(name, "AUC by tasks present", STRATA, ranks)
    for metric, found in (
        (F1_CODE, f1(last, answers, CODE_LOGIT)),
        (F1_BEST, best_f1(last, answers)),
    ):
        for axis, value in zip(AXES, found, strict=True):
            outcome.score(name, in_setting(metric, axis), value)


@torch.no_grad()
def megaflops(
    work: Callable[[Tensor], Tensor], images: Float[Tensor, "n 3 side side"]
) -> float:
    """Count the millions of floating-point operations that one picture takes, products
    of matrices and convolutions.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work(images)
    return counter.get_total_flops() / len(images) / 1e6


# ---- learners: frozen tokens, what is isolated on them, and the baselines


@dataclass(frozen=True)
class Frozen:
    """What the frozen transformer makes of pictures, without prompts, computed once and
    the same for all tasks.

    `entering` and `second` are the tokens that enter blocks 0 and 1; `normed` those
    that enter each block, after its first norm; `leaving` those that leave the last,
    after the final norm: `leaving[:, 0]` is the feature q(x).
    """

    entering: Float[Tensor, "n tokens width"]
    second: Float[Tensor, "n tokens width"]
    normed: Float[Tensor, "blocks n tokens width"]
    leaving: Float[Tensor, "n tokens width"]

    def __getitem__(self, rows: Int[Tensor, " batch"] | slice) -> "Frozen":
        return type(self)(
            self.entering[rows],
            self.second[rows],
            self.normed[:, rows],
            self.leaving[rows],
        )

    def parts(self, size: int = 300) -> Iterator["Frozen"]:
        """Cut into parts that fit a processor's cache."""
        return (self[i : i + size] for i in range(0, len(self.entering), size))


@torch.no_grad()
def freeze(vit: ViT, images: Float[Tensor, "n 3 side side"], size: int = 250) -> Frozen:
    """Pass pictures through the frozen transformer and keep its tokens."""
    n, blocks, shape = len(images), len(vit.blocks), vit.positions.shape
    early, normed, leaving = (
        images.new_empty(kept, n, *shape) for kept in (2, blocks, 1)
    )
    for i in range(0, n, size):
        part = slice(i, i + size)
        stages = vit.tokens(images[part])
        early[:, part], leaving[0, part] = stages[:2], vit.norm(stages[-1])
        for block, x, kept in zip(vit.blocks, stages, normed, strict=False):
            kept[part] = block.norm1(x)
    return Frozen(*early, normed, leaving[0])


def merge(
    vit: ViT, normed: Float[Tensor, "blocks n tokens width"], keep: int
) -> Float[Tensor, "blocks n keep width"]:
    """Reduce each block's tokens to `keep` by merging the most alike, as ToMe does
    (Bolya et al. 2023).

    Rounds of bipartite matching: every other token of a picture looks for the nearest
    key among the rest, and the best matched pairs are averaged by the number of patches
    in them. The class token stays by itself. Nothing is trained.
    """
    return torch.stack(
        [_merged(block, x, keep) for block, x in zip(vit.blocks, normed, strict=True)]
    )


def _merged(
    block: nn.Module, x: Float[Tensor, "n tokens width"], keep: int
) -> Float[Tensor, "n keep width"]:
    size = torch.ones_like(x[..., :1])
    while (excess := x.shape[1] - keep) > 0:
        keys = F.normalize(block.attention.qkv(x).chunk(3, -1)[1], dim=-1)
        a, b = torch.arange(1, x.shape[1], 2), torch.arange(2, x.shape[1], 2)
        alike, mate = (keys[:, a] @ keys[:, b].mT).max(-1)
        order = alike.argsort(-1, descending=True)
        gone, stay = order[:, : min(excess, len(b))], order[:, min(excess, len(b)) :]
        weighted = torch.cat([x * size, size], -1)  # sums, and counts beside them
        wide = weighted.shape[-1]
        kept = weighted[:, a].gather(1, stay[..., None].expand(-1, -1, wide))
        moved = weighted[:, a].gather(1, gone[..., None].expand(-1, -1, wide))
        target = mate.gather(1, gone)[..., None].expand(-1, -1, wide)
        weighted = torch.cat(
            [weighted[:, :1], kept, weighted[:, b].scatter_add(1, target, moved)], 1
        )
        size = weighted[..., -1:]
        x = weighted[..., :-1] / size
    return x


def best_keys(
    queries: Features, owner: Int[Tensor, " n"], tasks: int
) -> Float[Tensor, "tasks width"]:
    """Return the keys that minimise each task's mean 1 - cos(q(x), k): the mean of its
    queries, scaled to length 1.
    """
    unit = F.normalize(queries, dim=-1)
    return F.normalize(
        torch.stack([unit[owner == t].mean(0) for t in range(tasks)]), dim=-1
    )


Objective = Callable[[Float[Tensor, "batch own"], Int[Tensor, " batch"], int], Tensor]


class Isolated(nn.Module):
    """Learns each task on frozen tokens with weights of its own: here, its own rows of
    a linear head on q(x).

    Once learnt, a task's test scores cannot change, so each is computed once. That
    nothing is forgotten is by construction.

    Args:
        objective: `objective(logits, rows, task)` is the loss of the task's own logits.
    """

    def __init__(
        self,
        vit: ViT,
        sizes: Sequence[int],
        seen: Frozen,
        tested: Frozen,
        objective: Objective,
        seed: int,
    ):
        super().__init__()
        self.head, self.objective, ends = (
            new_head(vit, sum(sizes)),
            objective,
            torch.tensor(sizes).cumsum(0),
        )
        self.rows = [
            slice(end - size, end)
            for end, size in zip(ends.tolist(), sizes, strict=True)
        ]
        self.frozen = vit, seen, tested  # a tuple: not among the parameters
        self.scores = tested.leaving.new_zeros(len(tested.leaving), sum(sizes))

    def features(self, seen: Frozen, task: int) -> Features:
        """Return what a task's rows of the head read."""
        return seen.leaving[:, 0]

    def own_logits(self, seen: Frozen, task: int) -> Float[Tensor, "n own"]:
        """Return the logits of a task's own classes."""
        own = self.rows[task]
        return F.linear(
            self.features(seen, task), self.head.weight[own], self.head.bias[own]
        )

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Train the head; the rows of other tasks get no gradient, and a fresh Adam
        leaves them as they are.
        """
        return list(self.head.parameters())

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Compute the loss on training pictures of a task."""
        return self.objective(self.own_logits(self.frozen[1][rows], task), rows, task)

    @torch.no_grad()
    def end(self, task: int) -> None:
        """Score the test pictures for the task's classes."""
        self.scores[:, self.rows[task]] = torch.cat(
            [self.own_logits(p, task) for p in self.frozen[2].parts()]
        )

    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the test logits: all tasks' side by side, 0 for classes to come."""
        return self.scores.clone()


class Pooled(Isolated):
    """Attention pooling over the frozen transformer's last tokens, by one learned query
    a class.
    """

    def __init__(
        self,
        vit: ViT,
        sizes: Sequence[int],
        seen: Frozen,
        tested: Frozen,
        objective: Objective,
        seed: int,
    ):
        super().__init__(vit, sizes, seen, tested, objective, seed)
        drawn = torch.randn(
            self.head.weight.shape, generator=torch_rng(seed, "pooling")
        )
        self.queries = nn.Parameter(
            (drawn / drawn.shape[1] ** 0.5).to(self.head.weight.device)
        )

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Train head and queries, of which only the task's own rows get a gradient."""
        return list(self.parameters())

    def own_logits(self, seen: Frozen, task: int) -> Float[Tensor, "n own"]:
        """Return w_k · Σ_i a_i x_i + b_k with a = softmax(q_k · x_i / √D), for the
        task's classes k.
        """
        own, x = self.rows[task], seen.leaving
        pooled = (self.queries[own] @ x.mT / x.shape[-1] ** 0.5).softmax(-1) @ x
        return (pooled * self.head.weight[own]).sum(-1) + self.head.bias[own]


class PromptedML(Prompted):
    """Prompts chosen for a picture, trained by the masked loss of several labels."""

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Binary cross-entropy on the task's own classes, and the side loss that trains
        keys.
        """
        _, stream, encoded = self.frozen
        features, side = self.features(encoded.tokens[rows], encoded.query[rows])
        return stream.loss(self.head(features)[:, stream.own(task)], rows, task) + side


class FineTunedML(FineTuned):
    """Fine-tuning of all weights; no class is ever a negative unless its task says so.

    The head starts from random rows: behind one of zeros, the rest of the network, at
    the small rate that suits it, would not begin to learn for long.
    """

    def __init__(self, vit: ViT, stream: MultiLabelStream, seed: int):
        super().__init__(vit, stream)
        with seeded(seed, "head"):
            self.vit.head = nn.Linear(vit.norm.weight.shape[0], stream.classes).to(
                vit.positions.device
            )

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Binary cross-entropy on the task's own classes."""
        return self.stream.loss(
            self.vit(self.stream.images[rows])[:, self.stream.own(task)], rows, task
        )
