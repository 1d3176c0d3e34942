"""What attention heads say at a prompt's last token, kept and put in another prompt's
place; and how to choose heads.

Injections into heads ("Soft Injection of Task Embeddings", Park and Rhee 2025), and
what they are compared with: task vectors (Hendel et al. 2023), function vectors (Todd
et al. 2024), hard masks found at random or by REINFORCE (MTV, Huang et al. 2024), and
low-rank changes of W_O (LoRA). All work on several problems at once: a problem, a task
with its trace and its numbers, has as many prompts as any other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import GPT, Cache
from stages.models.gpt import Hook
from stages.seeding import torch_rng
from stages.training import fit, optimiser
from stages.worlds import tasks
from stages.worlds.tasks import OF_WORDS, TASKS, Facts
from stages.worlds.vocabulary import PAD, join

# -------------------------------------------------------------------- pairs and prompts

Pairs = Int[Tensor, "problems n 7"]  # "Q x A y ;"; pads stand left of pairs about words
Trace = Float[Tensor, "problems layers heads size"]
Weights = Float[Tensor, "problems layers heads"]
Hooks = dict[int, Hook]


def pairs_of(facts: Facts, split: str, n: int, seed: int) -> Pairs:
    """Draw n pairs of each of TASKS; where the split has fewer nouns, pairs about words
    come again.
    """
    found = []
    for task in TASKS:
        many = (
            min(n, int((facts.split == list(tasks.SPLITS).index(split)).sum()))
            if task in OF_WORDS
            else n
        )
        drawn = tasks.prompts(
            facts,
            task,
            1,
            seed,
            shots=many - 1,
            split=split,
            query=split,
            stream=("site", split),
        )
        rows = drawn.tokens.view(many, -1)
        found.append(
            F.pad(rows, (7 - rows.shape[1], 0), value=PAD).repeat(-(-n // many), 1)[:n]
        )
    return torch.stack(found)


def orders(n: int, draws: int, seed: int, *names: str | int) -> Int[Tensor, "draws n"]:
    """Draw permutations; a prompt's demonstrations are the pairs that come first in
    one.
    """
    return torch.rand(draws, n, generator=torch_rng(seed, "site", *names)).argsort(1)


def shuffle(
    shown: Int[Tensor, "problems n shots 7"], seed: int
) -> Int[Tensor, "problems n shots 7"]:
    """Permute the answers among the demonstrations of each prompt."""
    order = orders(shown.shape[2], shown.shape[1], seed, "labels").expand(
        shown.shape[:3]
    )
    shown = shown.clone()
    shown[..., -2] = shown[..., -2].gather(2, order)
    return shown


@dataclass(frozen=True)
class Prompts:
    """Prompts of several problems (a task, say), read up to their last token, the "A"
    of the query.

    That token alone is read under hooks: an injection can reach no other.

    Attributes:
        tokens: the prompts, problem by problem; pads on the left.
        answers: tokens.
        past: keys and values of all tokens but the last.
    """

    model: GPT
    tokens: Int[Tensor, "rows length"]
    answers: Int[Tensor, "problems n"]
    past: Cache

    @classmethod
    @torch.no_grad()
    def read(
        cls,
        model: GPT,
        query: Pairs,
        shown: Int[Tensor, "problems n shots 7"] | None = None,
    ) -> "Prompts":
        """Put demonstrations, if any, before each query, whose answer stays out, and
        read.
        """
        pieces = [] if shown is None else [rearrange(shown, "p n s t -> (p n) (s t)")]
        tokens = join(*pieces, query[..., :-2].flatten(0, 1), pad="left").to(
            model.positions.device
        )
        past = model.extend(tokens[:, :-1], mask=tokens[:, :-1] != PAD)[1]
        return cls(model, tokens, query[..., -2].to(tokens.device), past)

    def logits(
        self, hooks: Hooks | None = None, everywhere: bool = False
    ) -> Float[Tensor, "problems n vocabulary"]:
        """Read the last token under hooks, or all tokens if so asked; return its
        logits.
        """
        if everywhere:
            found = self.model(self.tokens, self.tokens != PAD, hooks)[:, -1]
        else:
            found = self.model.logits(
                self.model.extend(self.tokens[:, -1:], self.past, hooks=hooks)[0][:, -1]
            )
        return found.unflatten(0, self.answers.shape)

    def heads(self) -> Float[Tensor, "problems n layers heads size"]:
        """Return the heads' outputs at the last token, before W_O."""
        kept: list[Tensor] = []
        self.logits(dict.fromkeys(range(len(self.model.blocks)), kept.append))
        return torch.stack(kept, 1)[:, :, 0].unflatten(0, self.answers.shape)

    @cached_property
    def states(self) -> Float[Tensor, "stages rows length width"]:
        """The states that enter each block and, last, those that leave the network."""
        return self.model.states(self.tokens, self.tokens != PAD)

    def steered(
        self, stage: int, vector: Float[Tensor, "problems width"], add: bool
    ) -> Tensor:
        """Put a vector in the place of the last token's state as it enters block
        `stage`, or add it; return logits.
        """
        states, vector = (
            self.states[stage].clone(),
            vector.repeat_interleave(self.answers.shape[1], 0),
        )
        states[:, -1] = vector + states[:, -1] if add else vector
        return self.model.forward_from(states, stage, self.tokens != PAD)[
            :, -1
        ].unflatten(0, self.answers.shape)


def losses(
    logits: Float[Tensor, "problems n vocabulary"], prompts: Prompts
) -> Float[Tensor, " problems"]:
    """Return each problem's mean of -log p(answer)."""
    return F.cross_entropy(
        logits.transpose(1, 2), prompts.answers, reduction="none"
    ).mean(1)


def accuracy(
    logits: Float[Tensor, "problems n vocabulary"], prompts: Prompts
) -> Float[Tensor, " problems"]:
    """Return the share of each problem's prompts that are answered, in %."""
    return 100 * (logits.argmax(-1) == prompts.answers).float().mean(1)


@torch.no_grad()
def few_shot(
    model: GPT, train: Pairs, test: Pairs, order: Int[Tensor, "n shots"]
) -> Float[Tensor, " problems"]:
    """Return the accuracy after demonstrations: of a query, the training pairs at the
    places of its row of `order`.
    """
    found = []
    for pairs, query in zip(
        train, test, strict=True
    ):  # one by one: no prompt is padded, and memory is small
        prompts = Prompts.read(model, query[None], pairs[order][None])
        found.append(accuracy(prompts.logits(), prompts))
    return torch.cat(found)


# --------------------------------------------------------------------------- injections


def injection(keep: Weights, added: Trace) -> Hooks:
    """Make the hooks that turn a head's output o into keep · o + added, problem by
    problem, in all blocks at once.
    """

    def hook(
        layer: int, heads: Float[Tensor, "rows tokens heads size"]
    ) -> Float[Tensor, "rows tokens heads size"]:
        o = heads.unflatten(0, (len(keep), -1))
        return (
            o * keep[:, None, None, layer, :, None] + added[:, None, None, layer]
        ).flatten(0, 1)

    return {layer: partial(hook, layer) for layer in range(keep.shape[1])}


def patch(share: Weights, trace: Trace) -> Hooks:
    """Make the hooks o <- (1 - α) o + α t, with α = `share`."""
    return injection(1 - share, share[..., None] * trace)


@torch.no_grad()
def told_apart(
    model: GPT, train: Pairs, order: Int[Tensor, "n pairs"], trace: Trace
) -> Float[Tensor, " problems"]:
    """Return the share of single prompts, in %, whose heads lie nearest to their own
    problem's trace.

    The last pair of an order is the query. Problems whose traces are one cannot be told
    apart by what is injected.
    """
    found = []
    for problem, pairs in enumerate(train):
        heads = Prompts.read(
            model, pairs[order[:, -1]][None], pairs[order[:, :-1]][None]
        ).heads()[0]
        found.append(
            torch.cdist(heads.flatten(1), trace.flatten(1)).argmin(1) == problem
        )
    return 100 * torch.stack(found).float().mean(1)


def noise_like(trace: Trace, seed: int) -> Trace:
    """Draw directions at random, each as long as the head's trace."""
    drawn = torch.randn(trace.shape, generator=torch_rng(seed, "site", "noise")).to(
        trace
    )
    return F.normalize(drawn, dim=-1) * trace.norm(dim=-1, keepdim=True)


def leading(
    ranks: Int[Tensor, "problems layers heads"], first: int, last: int
) -> Weights:
    """Return 1 for the heads whose rank is among [first, last), 0 for the others."""
    return ((ranks >= first) & (ranks < last)).float()


class Learnt(NamedTuple):
    """Numbers after training: of the checkpoint with the lowest validation loss, each
    problem's own, and the last.
    """

    best: Tensor
    last: Tensor


def learn(
    start: Float[Tensor, "problems ..."],
    answer: Callable[[Tensor, Prompts], Float[Tensor, "problems n vocabulary"]],
    train: Prompts,
    validation: Prompts | None,
    lr: float,
    steps: int,
    every: int,
    objective: Callable[[Tensor], Tensor] | None = None,
) -> Learnt:
    """Train numbers with Adam on -log p(answer), every problem as it would alone, on
    all its prompts at each step.

    Args:
        answer: gives the logits under some numbers.
        validation: compared every so many steps; where there is none, the last numbers
            are the best.
        objective: to minimise in place of the loss, summed over problems.
    """
    numbers = nn.Parameter(start.clone())
    best, lowest = (
        start.clone(),
        torch.full((len(start),), torch.inf, device=start.device),
    )

    @torch.no_grad()
    def check(step: int) -> None:
        if validation is not None and (step + 1) % every == 0:
            loss = losses(answer(numbers, validation), validation)
            better = loss < lowest
            best[better], lowest[better] = numbers[better], loss[better]

    def loss(step: int) -> Tensor:
        return (
            objective(numbers)
            if objective
            else losses(answer(numbers, train), train).sum()
        )

    fit(loss, steps, optimiser([numbers], "adam", lr), after_step=check)
    last = numbers.detach()
    return Learnt(last if validation is None else best, last)


# ------------------------------------------------------------------------ the baselines


def pick(
    candidates: Sequence[Callable[[Prompts], Tensor]],
    validation: Prompts,
    test: Prompts,
) -> Float[Tensor, " p"]:
    """Return each problem's test accuracy under the candidate with the lowest
    validation loss.
    """
    loss = torch.stack(
        [losses(candidate(validation), validation) for candidate in candidates]
    )
    right = torch.stack([accuracy(candidate(test), test) for candidate in candidates])
    return right.gather(0, loss.argmin(0, keepdim=True))[0]


def task_vectors(
    mean: Float[Tensor, "stages problems width"], validation: Prompts, test: Prompts
) -> Tensor:
    """Overwrite the last token's state after one block by its mean in 10-shot prompts
    (Hendel et al. 2023).
    """
    tried = [
        lambda prompts, s=s: prompts.steered(s, mean[s], False)
        for s in range(1, len(mean))
    ]
    return pick(tried, validation, test)


def indirect_effects(shuffled: Prompts, trace: Trace) -> Float[Tensor, "layers heads"]:
    """Return by how much t in a head's place raises p(answer) after shuffled labels, on
    average (Todd et al. 2024).
    """

    def chance(hooks: Hooks | None) -> Tensor:
        return (
            shuffled.logits(hooks)
            .softmax(-1)
            .gather(-1, shuffled.answers[..., None])
            .mean()
        )

    found, before = trace.new_zeros(trace.shape[1:3]), chance(None)
    for layer, head in product(*map(range, found.shape)):
        mask = torch.zeros_like(found)
        mask[layer, head] = 1
        found[layer, head] = (
            chance(patch(mask.expand(trace.shape[:-1]), trace)) - before
        )
    return found


def function_vector(
    model: GPT, trace: Trace, heads: Sequence[int]
) -> Float[Tensor, "problems width"]:
    """Sum what some heads, counted through all blocks, write into the residual stream
    if they say t.
    """
    chosen = torch.zeros_like(trace[0, :, :, 0]).flatten()
    chosen[list(heads)] = 1
    said = (trace * chosen.view(trace.shape[1:3])[..., None]).flatten(2)
    return sum(
        said[:, layer] @ block.attention.project.weight.mT
        for layer, block in enumerate(model.blocks)
    )


def function_vectors(
    trace: Trace,
    effects: Tensor,
    validation: Prompts,
    test: Prompts,
    most: Sequence[int],
) -> Tensor:
    """Add the function vector of the k heads with the largest effects after one block;
    k and block by validation.
    """
    ranked = effects.flatten().argsort(descending=True).tolist()
    vectors = [function_vector(validation.model, trace, ranked[:k]) for k in most]
    tried = [
        lambda prompts, s=s, vector=vector: prompts.steered(s, vector, True)
        for s, vector in product(range(1, len(validation.model.blocks) + 1), vectors)
    ]
    return pick(tried, validation, test)


def random_search(
    trace: Trace,
    train: Prompts,
    validation: Prompts,
    test: Prompts,
    passes: int,
    seed: int,
) -> Tensor:
    """Replace random heads wholly: of `passes` masks of random density the 8 best on
    train, of these the best later.
    """
    chance = torch_rng(seed, "site", "masks")
    shape = (passes, *trace.shape[:-1])
    masks = torch.rand(shape, generator=chance) < torch.rand(
        *shape[:2], 1, 1, generator=chance
    )
    masks = masks.to(trace)
    loss = torch.stack(
        [losses(train.logits(patch(mask, trace)), train) for mask in masks]
    )
    best = masks.gather(
        0,
        loss.topk(8, 0, largest=False)
        .indices[..., None, None]
        .expand(-1, -1, *shape[2:]),
    )
    return pick(
        [lambda p, mask=mask: p.logits(patch(mask, trace)) for mask in best],
        validation,
        test,
    )


def reinforce(
    trace: Trace,
    train: Prompts,
    validation: Prompts,
    passes: int,
    lr: float,
    samples: int,
    seed: int,
) -> Weights:
    """Learn which heads to replace wholly, by REINFORCE on Bernoulli masks (MTV, Huang
    et al. 2024); return masks.

    Each update compares `samples` masks of a problem with their mean loss.
    """
    chance = torch_rng(seed, "site", "reinforce")

    def hard(numbers: Weights, prompts: Prompts) -> Tensor:
        return prompts.logits(patch((numbers > 0).to(trace), trace))

    def surrogate(numbers: Weights) -> Tensor:
        share = numbers.detach().sigmoid().cpu().expand(samples, *numbers.shape)
        masks = torch.bernoulli(share, generator=chance).to(trace)
        with torch.no_grad():
            loss = torch.stack(
                [losses(train.logits(patch(mask, trace)), train) for mask in masks]
            )
        unlikely = F.binary_cross_entropy_with_logits(
            numbers.expand_as(masks), masks, reduction="none"
        ).sum((2, 3))
        return -((loss - loss.mean(0)) * unlikely).sum() / (samples - 1)

    steps = passes // samples
    start = torch.zeros(trace.shape[:-1], device=trace.device)
    return (
        learn(
            start, hard, train, validation, lr, steps, max(1, steps // 8), surrogate
        ).best
        > 0
    ).to(trace)


def low_rank(numbers: Float[Tensor, "problems 2 layers rank width"]) -> Hooks:
    """Make the hooks o <- o + Bᵀ A o over all heads together: W_O becomes W_O (I + Bᵀ
    A), LoRA of this rank on W_O.
    """

    def hook(
        layer: int, heads: Float[Tensor, "rows tokens heads size"]
    ) -> Float[Tensor, "rows tokens heads size"]:
        down, up = numbers[:, :, layer].unbind(1)
        o = rearrange(heads, "(p n) t h d -> p (n t) (h d)", p=len(numbers))
        return heads + (o @ down.mT @ up).view_as(heads)

    return {layer: partial(hook, layer) for layer in range(numbers.shape[2])}


def lora(
    trace: Trace,
    train: Prompts,
    validation: Prompts,
    rank: int,
    lr: float,
    steps: int,
    every: int,
    seed: int,
) -> Float[Tensor, "problems 2 layers rank width"]:
    """Train LoRA on W_O of all blocks, which acts on every token; return A and B. At
    first it changes nothing.
    """
    problems, layers, heads, size = trace.shape
    start = torch.randn(
        2, layers, rank, heads * size, generator=torch_rng(seed, "site", "lora")
    )
    start = start.div((heads * size) ** 0.5).to(trace)
    start[1] = 0

    def answer(numbers: Tensor, prompts: Prompts) -> Tensor:
        return prompts.logits(low_rank(numbers), everywhere=True)

    return learn(
        start.expand(problems, *start.shape),
        answer,
        train,
        validation,
        lr,
        steps,
        every,
    ).best
