"""What an arm knows of old tasks and of new classes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import cosine_logits
from stages.papers.continual.brain_inspired_fewshot.method import Heads, Weights, embed
from stages.papers.continual.brain_inspired_fewshot.training import (
    SUPPORT,
    WAYS,
    Base,
    FewShotStream,
    Learnt,
)


@torch.no_grad()
def features(
    network: nn.Module, weights: Weights, images: Float[Tensor, "n 1 side side"]
) -> Float[Tensor, "n features"]:
    """Embed many images, some at a time so that they stay in the processor's cache."""
    return torch.cat([embed(network, weights, part) for part in images.split(64)])


def accuracy_matrix(
    base: Base, learnt: Learnt, stream: FewShotStream
) -> Float[Tensor, "phases tasks"]:
    """Return the accuracy in per cent on each task that was learnt by then, with the
    task named and by the fast weights; 0 on those to come.
    """
    rows = []
    for snapshot in learnt.snapshots:
        known = snapshot.tasks
        row = torch.zeros(len(stream.query))
        if known:
            row[:known] = named(
                base.network, snapshot.fast, learnt.heads[:known], stream.query[:known]
            )
            rows.append(row)
    return torch.stack(rows)


def named(
    network: nn.Module,
    weights: Weights,
    heads: Heads,
    query: Float[Tensor, "tasks q 1 side side"],
) -> Float[Tensor, " tasks"]:
    """Return the accuracy on each task, sought among its own classes."""
    z = features(network, weights, query.flatten(0, 1))
    logits = cosine_logits(z.unflatten(0, query.shape[:2]), heads)
    right = logits.argmax(-1) == FewShotStream.labels(query)
    return 100 * right.float().mean(-1).cpu()


def not_named(
    network: nn.Module,
    weights: Weights,
    heads: Heads,
    query: Float[Tensor, "tasks q 1 side side"],
) -> float:
    """Return the accuracy when the answer is sought among the classes of all tasks."""
    z = features(network, weights, query.flatten(0, 1))
    guess = cosine_logits(z, heads.flatten(0, 1)).argmax(-1)
    first = WAYS * torch.arange(len(query), device=guess.device)
    truth = (first[:, None] + FewShotStream.labels(query)).flatten()
    return 100 * (guess == truth).float().mean().item()


def few_shot(network: nn.Module, weights: Weights, stream: FewShotStream) -> float:
    """Return the accuracy on held-out classes by nearest class mean, over all episodes
    and in per cent.
    """
    z = F.normalize(features(network, weights, stream.novel), dim=-1)
    shown = z[stream.episodes.to(z.device)]  # (episodes, ways, images, features)
    means = shown[:, :, :SUPPORT].mean(2)
    asked = shown[:, :, SUPPORT:]
    guess = cosine_logits(asked, means[:, None]).argmax(-1)
    truth = torch.arange(guess.shape[1], device=z.device)[:, None]
    return 100 * (guess == truth).float().mean().item()


def distance_moved(base: Weights, weights: Weights) -> float:
    """Return how far weights are from the base network, in per cent of its length."""
    gone = sum((w - base[name]).square().sum() for name, w in weights.items())
    length = sum(w.square().sum() for w in base.values())
    return 100 * (gone / length).sqrt().item()
