"""Prompts of several problems at once, read up to their last token, and what heads say
there.

A problem is a task with its own toys, trace and learned numbers; each has as many
prompts as any other.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.models import GPT, Cache
from stages.models.gpt import Hook
from stages.seeding import torch_rng
from stages.worlds.ledgers import TASKS, Facts

Toys = Int[Tensor, "problems n"]
Trace = Float[Tensor, "problems layers heads size"]
Shares = Float[Tensor, "problems layers heads"]
Logits = Float[Tensor, "problems n vocabulary"]
Hooks = dict[int, Hook]


@dataclass(frozen=True)
class Prompts:
    """Prompts that end in the "A" of their query.

    That token is read apart from those before it: an injection can reach no other.

    Attributes:
        tokens: the prompts, problem by problem, all of one length.
        answers: the token that should follow each.
        past: keys and values of all tokens but the last.
    """

    model: GPT
    tokens: Int[Tensor, "rows length"]
    answers: Toys
    past: Cache

    @classmethod
    @torch.no_grad()
    def read(
        cls,
        model: GPT,
        facts: Facts,
        query: Toys,
        shown: Int[Tensor, "problems n shots"] | None = None,
        labels: Int[Tensor, "problems n shots"] | None = None,
    ) -> "Prompts":
        """Ask about toys, after demonstrations about others if `shown`. Problem i is of
        task i modulo the number of tasks.

        Args:
            labels: toys whose answers the demonstrations show, if not their own.
        """
        task = (torch.arange(len(query)) % len(TASKS))[:, None].expand_as(query)
        toys = query[..., None]
        said = toys
        if shown is not None:
            toys = torch.cat([shown, query[..., None]], -1)
            said = toys if labels is None else torch.cat([labels, query[..., None]], -1)
        written = facts.written(task.flatten(), toys.flatten(0, 1), said.flatten(0, 1))
        tokens = written[:, :-2].to(model.positions.device)  # the answer stays out
        past = model.extend(tokens[:, :-1])[1]
        return cls(model, tokens, facts.table[task, query].to(tokens.device), past)

    def logits(self, hooks: Hooks | None = None, everywhere: bool = False) -> Logits:
        """Return the last token's logits, read under hooks, or all tokens so read."""
        if everywhere:
            found = self.model(self.tokens, hooks=hooks)[:, -1]
        else:
            states, _ = self.model.extend(self.tokens[:, -1:], self.past, hooks=hooks)
            found = self.model.logits(states[:, -1])
        return found.unflatten(0, self.answers.shape)

    def heads(self) -> Float[Tensor, "problems n layers heads size"]:
        """Return the heads' outputs at the last token, before W_O."""
        kept: list[Tensor] = []
        self.logits(dict.fromkeys(range(len(self.model.blocks)), kept.append))
        return torch.stack(kept, 1)[:, :, 0].unflatten(0, self.answers.shape)

    @cached_property
    def states(self) -> Float[Tensor, "stages rows length width"]:
        """The states that enter each block and, last, those that leave the network."""
        return self.model.states(self.tokens)

    def steered(self, stage: int, vector: Float[Tensor, "problems width"]) -> Logits:
        """Add a vector to the last token's state as it enters block `stage`."""
        states = self.states[stage].clone()
        states[:, -1] += vector.repeat_interleave(self.answers.shape[1], 0)
        logits = self.model.forward_from(states, stage)[:, -1]
        return logits.unflatten(0, self.answers.shape)


def losses(logits: Logits, prompts: Prompts) -> Float[Tensor, " problems"]:
    """Return each problem's mean of -log p(answer)."""
    each = F.cross_entropy(logits.mT, prompts.answers, reduction="none")
    return each.mean(1)


def right(logits: Logits, prompts: Prompts) -> Float[Tensor, "problems n"]:
    """Return 100 where the likeliest token is the answer, else 0."""
    return 100.0 * (logits.argmax(-1) == prompts.answers)


def orders(
    draws: int, tasks: int, n: int, *, seed: int, name: str
) -> Int[Tensor, "draws tasks n"]:
    """Draw permutations of n toys, for each task its own."""
    chance = torch_rng(seed, "site", name)
    return torch.rand(draws, tasks, n, generator=chance).argsort(2)


def permuted(
    shown: Int[Tensor, "problems n shots"], seed: int
) -> Int[Tensor, "problems n shots"]:
    """Permute the toys of each prompt: whose answers it shows in place of their own."""
    chance = torch_rng(seed, "site", "labels")
    return shown.gather(-1, torch.rand(shown.shape, generator=chance).argsort(-1))
