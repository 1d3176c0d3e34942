"""Thoughts that are vectors: a model that feeds its last hidden state back to itself,
and what can train it to.

Coconut (Hao et al. 2024), CODI (Shen et al. 2025) and the step decoder of SIM-CoT (Wei
et al. 2026), on the problems of `stages.worlds.chains`. The paper `mechanisms/sim_cot`
measures them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import GPT, Cache
from stages.training import pick_device
from stages.worlds import chains
from stages.worlds.vocabulary import PAD, Vocabulary, join

# ------------------------------------------------------------------------- the problems


@dataclass(frozen=True)
class Problems:
    """Word problems in tokens: pads left of a question; steps "< 7 + 3 = 10 >", pads
    where there is none; an answer "<answer> 10 <end>"; and how many steps a problem
    takes.
    """

    question: Int[Tensor, "n length"]
    steps: Int[Tensor, "n most 7"]
    answer: Int[Tensor, "n 3"]
    count: Int[Tensor, " n"]

    @classmethod
    def of(cls, world: chains.Chains) -> "Problems":
        """Write down what a world holds, on the device that is there."""
        words, device = (
            chains.vocabulary(world.modulus, world.plain).number,
            pick_device(),
        )
        mark, end = (
            torch.full_like(world.answer, words[word]) for word in ("<answer>", "<end>")
        )
        answer = torch.stack([mark, 1 + world.answer, end], 1)
        return cls(
            *(
                rows.to(device)
                for rows in (world.question, world.written, answer, world.steps)
            )
        )

    def __len__(self) -> int:
        return len(self.count)

    def take(self, rows: Int[Tensor, " some"] | slice) -> "Problems":
        """Return some of the problems, without the columns of questions in which all of
        these have pads.
        """
        question = self.question[rows]
        return Problems(
            question[:, (question != PAD).any(0)],
            self.steps[rows],
            self.answer[rows],
            self.count[rows],
        )

    def text(self, skip: int = 0, last: bool = True) -> Int[Tensor, "n length"]:
        """Return the steps from `skip` on, without the last one if so asked, and the
        answer; pads on the right.
        """
        later = (
            torch.arange(skip + 1, self.steps.shape[1] + 1, device=self.count.device)
            < self.count[:, None]
        )
        steps = self.steps[:, skip:] * (later | last)[..., None]
        return join(steps.flatten(1), self.answer)

    def slots(
        self, slots: int, empty: Literal["answer", "nothing"] = "answer"
    ) -> Int[Tensor, "n slots length"]:
        """Return what is to be decoded from each of `slots` slots, a step and "<end>";
        pads on the right.

        The last slot takes all steps that are left. One for which a problem has no step
        takes the answer (released for Coconut), or nothing, which gives no loss
        (released for CODI).
        """
        end, rows = self.answer[:, -1:], []
        for k in range(slots):
            step = self.steps[:, k : None if k == slots - 1 else k + 1].flatten(1)
            none = (k >= self.count)[:, None]
            other = self.answer * (none & (empty == "answer"))
            rows.append(join(step, end * ~none, other))
        most = max(row.shape[1] for row in rows)
        return torch.stack([F.pad(row, (0, most - row.shape[1])) for row in rows], 1)


# --------------------------------------------------------------------------- the method


@dataclass(frozen=True)
class Arm:
    """How a model comes to its answer, and what trains it to.

    Attributes:
        thinking: by "thoughts", by "pauses" in their place, by written "steps", or
            "none".
        thoughts: K.
        step: λ_step, the weight of the loss of a decoder that writes steps from
            thoughts; at 0 there is none.
        targets: of the decoder: each slot its "own" step, "shuffled" within a problem,
            or "foreign": another problem's.
        stop: whether the decoder's loss stops at the thoughts.
        replay: share of examples with written steps.
        distil: CODI's losses and projection; such an arm, and one without thoughts,
            starts before the curriculum.
        longer: whether it gets as many updates as take the time that SIM-CoT's take.
    """

    thinking: Literal["thoughts", "pauses", "steps", "none"] = "thoughts"
    thoughts: int = 4
    step: float = 0.0
    targets: Literal["own", "shuffled", "foreign"] = "own"
    stop: bool = False
    replay: float = 0.0
    distil: bool = False
    longer: bool = False

    @property
    def curriculum(self) -> bool:
        """Whether Coconut's curriculum comes first."""
        return self.thinking == "thoughts" and not self.distil


class Decoder(nn.Module):
    """The auxiliary decoder p_φ: a second model from the base's weights that reads with
    the base's own embedding.

    Its output weights are a copy of it, and thoughts stand where its first tokens
    would.
    """

    def __init__(self, base: GPT):
        super().__init__()
        self.model = deepcopy(base)
        self.model.embedding = base.embedding
        self.model.head = nn.Linear(*base.embedding.weight.shape[::-1], bias=False)
        self.model.head.weight = nn.Parameter(base.embedding.weight.detach().clone())

    def forward(
        self, thoughts: Float[Tensor, "rows c width"], text: Int[Tensor, "rows length"]
    ) -> Float[Tensor, "rows length vocabulary"]:
        """Return the logits of each token of the text, given the thoughts and the
        tokens before it.
        """
        read = torch.cat([thoughts, self.model.embedding(text[:, :-1])], 1)
        return self.model.logits(self.model.extend(read)[0][:, thoughts.shape[1] - 1 :])


class Scaled(nn.Module):
    """Vectors brought to one length."""

    def __init__(self, length: Float[Tensor, ""]):
        super().__init__()
        self.register_buffer("length", length.clone())

    def forward(
        self, x: Float[Tensor, "*batch width"]
    ) -> Float[Tensor, "*batch width"]:
        """Return x at that length."""
        return self.length * F.normalize(x, dim=-1)


class Thinker(nn.Module):
    """A model that thinks before it answers, with what is needed to train it that way
    alone.

    Args:
        model: is copied.
        arm, words: how it thinks, and the words of its problems.
        most: steps of a problem it is trained on. There are min(K, most) slots, with c
            = K / slots thoughts each.

    Attributes:
        project: what becomes of a final state before it is fed back. It is made as long
            as an embedding is on average; as it leaves the last norm it is ten times as
            long, and what the blocks add to it would be lost.
    """

    def __init__(self, model: GPT, arm: Arm, words: Vocabulary, most: int):
        super().__init__()
        self.model, self.arm, self.most = deepcopy(model), arm, most
        self.words, width = words.number, model.positions.shape[1]
        self.slots = min(arm.thoughts, most)
        if arm.thoughts % self.slots:
            raise ValueError(
                f"{arm.thoughts} thoughts do not share out among {self.slots} slots"
            )
        length = model.embedding.weight.detach().norm(dim=1).mean()
        self.project = Scaled(length)
        if arm.distil:
            inner = nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
            self.project = nn.Sequential(*inner, nn.LayerNorm(width))
            nn.init.constant_(self.project[-1].weight, length / width**0.5)
        self.reader = Decoder(self.model) if arm.step else None

    def read(self, problems: Problems) -> tuple[Cache, Int[Tensor, "n 1"]]:
        """Read questions but for the last word, with which thoughts, or a text, begin;
        return it too.
        """
        question = problems.question[:, :-1]
        return self.model.extend(question, mask=question != PAD)[1], problems.question[
            :, -1:
        ]

    def think(
        self,
        cache: Cache,
        last: Int[Tensor, "n 1"],
        count: int,
        edit: Callable[[int, Float[Tensor, "n 1 width"]], Float[Tensor, "n 1 width"]]
        | None = None,
    ) -> tuple[Float[Tensor, "n count width"], Cache]:
        """Feed the last final state back `count` times: z_k = H(U_{k-1}), U_k = U_{k-1}
        ⊕ z_k.

        Nothing is detached. `edit` may change a thought, by its index, before it is fed
        back. Pauses are words in the thoughts' place; their thoughts are their
        embeddings.
        """
        start = torch.cat([last, torch.full_like(last, self.words["<thought>"])], 1)
        state, cache = self.model.extend(start, cache)
        if self.arm.thinking == "pauses":
            pauses = self.model.embedding(
                last.new_full((len(last), count), self.words["<pause>"])
            )
            return pauses, self.model.extend(pauses, cache)[1]
        thoughts = []
        for k in range(count):
            thought = self.project(state[:, -1:])
            thoughts.append(edit(k, thought) if edit else thought)
            state, cache = self.model.extend(thoughts[-1], cache)
        return torch.cat(thoughts, 1), cache

    def loss(
        self, problems: Problems, stage: int, generator: torch.Generator
    ) -> Tensor:
        """Return what an update lessens. In stage s the first s slots' steps are
        thought and the others written; in the last stage, `self.last`, all are thought.
        """
        arm = self.arm
        cut = (
            len(problems)
            if arm.thinking == "steps"
            else round(arm.replay * len(problems))
        )
        told, silent = problems.take(slice(cut)), problems.take(slice(cut, None))
        total = problems.question.new_zeros((), dtype=torch.float)
        if cut:
            total = total + cut / len(problems) * self._text_loss(
                *self.read(told), told.text()
            )
        if len(silent):
            total = total + len(silent) / len(problems) * self._silent_loss(
                silent, stage, generator
            )
        return total

    @property
    def last(self) -> int:
        """The stage in which no step is written: one for each slot, and one more if the
        last slot holds many steps.
        """
        return self.slots + (self.slots < self.most)

    def _silent_loss(
        self, problems: Problems, stage: int, generator: torch.Generator
    ) -> Tensor:
        arm, (cache, last) = self.arm, self.read(problems)
        if arm.thinking == "none":
            return self._text_loss(cache, last, problems.answer)
        slots = min(stage, self.slots)
        thoughts, thought = self.think(cache, last, slots * arm.thoughts // self.slots)
        text = problems.text(self.most if stage == self.last else stage)
        with recorded(self.model) as student:
            total = self._text_loss(
                thought, torch.full_like(last, self.words["</thought>"]), text
            )
        if arm.distil:
            teaching = problems.text(
                last=False
            )  # with the last step in it the teacher's state gives the answer away
            with recorded(self.model) as teacher:
                total = total + self._text_loss(cache, last, teaching)
            mark = self.words["<answer>"]
            total = total + distillation_loss(
                student, teacher, text == mark, teaching == mark
            )
        if self.reader is not None:
            targets = problems.slots(self.slots, "nothing" if arm.distil else "answer")[
                :, :slots
            ]
            targets = misaligned(targets, arm.targets, generator)
            read = thoughts.detach() if arm.stop else thoughts
            total = total + arm.step * step_loss(
                self.reader, read, targets, per_token=arm.distil
            )
        return total

    def _text_loss(
        self, cache: Cache, first: Int[Tensor, "n 1"], text: Int[Tensor, "n length"]
    ) -> Tensor:
        """Return the mean of -log p(text) after what was read and a first word; pads
        are left out.
        """
        states, _ = self.model.extend(torch.cat([first, text[:, :-1]], 1), cache)
        return F.cross_entropy(
            self.model.logits(states).flatten(0, 1), text.flatten(), ignore_index=PAD
        )

    @torch.no_grad()
    def solve(
        self, problems: Problems, edit: Callable | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer; return the answers as tokens (0 for none), how many tokens that took,
        and the thoughts.

        Thoughts and pauses count as tokens.
        """
        cache, first = self.read(problems)
        used, thoughts, new = 0, None, problems.answer.shape[1]
        if self.arm.thinking in ("thoughts", "pauses"):
            used = self.arm.thoughts
            thoughts, cache = self.think(cache, first, used, edit)
            first = torch.full_like(first, self.words["</thought>"])
        if self.arm.thinking == "steps":
            new += problems.steps[0].numel()
        made = self.model.generate(first, new, stop=[self.words["<end>"]], cache=cache)
        written = (made != self.words["<end>"]).cumprod(1).sum(1) + 1
        marked = made == self.words["<answer>"]
        after = F.pad(made, (0, 1))[:, 1:].gather(
            1, marked.int().argmax(1, keepdim=True)
        )[:, 0]
        return after * marked.any(1), used + written.clamp(max=made.shape[1]), thoughts


@contextmanager
def recorded(model: GPT) -> Iterator[list[Float[Tensor, "n tokens width"]]]:
    """Keep what leaves each block while the model is used inside."""
    kept = []
    handles = [
        block.register_forward_hook(lambda _, __, out: kept.append(out[0]))
        for block in model.blocks
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def step_loss(
    reader: nn.Module,
    thoughts: Float[Tensor, "n thoughts width"],
    targets: Int[Tensor, "n slots length"],
    per_token: bool = False,
) -> Float[Tensor, ""]:
    """Return L_step = -Σ_k Σ_t log p_φ(y_kt | z_k, y_k,<t), k's own c thoughts alone
    before it.

    A slot's sum is divided by the number of problems that have a target in it, or of
    tokens if so asked; slots with targets are averaged. Pads are left out.
    """
    slots = targets.shape[1]
    logits = reader(
        rearrange(thoughts, "n (s c) d -> (n s) c d", s=slots), targets.flatten(0, 1)
    )
    nll = F.cross_entropy(
        logits.mT, targets.flatten(0, 1), ignore_index=PAD, reduction="none"
    )
    there = targets != PAD
    count = (there if per_token else there.any(2, keepdim=True)).sum((0, 2))
    return (nll.view_as(targets).sum((0, 2)) / count.clamp(min=1)).sum() / (
        count > 0
    ).sum().clamp(min=1)


def misaligned(
    targets: Int[Tensor, "n slots length"], how: str, generator: torch.Generator
) -> Int[Tensor, "n slots length"]:
    """Leave the targets to their "own" slots, or put each problem's in random order
    ("shuffled"), or give it those of the one before it in the batch ("foreign").
    """
    if how == "shuffled":
        order = (
            torch.rand(targets.shape[:2], generator=generator)
            .argsort(1)
            .to(targets.device)
        )
        return targets.gather(1, order[..., None].expand_as(targets))
    return targets.roll(1, 0) if how == "foreign" else targets


def distillation_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], at: Tensor, taught_at: Tensor
) -> Float[Tensor, ""]:
    """Return CODI's smooth L1 between states of all layers at the token just before the
    answer, averaged over layers.

    The teacher's are detached, and both are divided by the standard deviation of the
    teacher's.

    Args:
        student, teacher: states of each layer, (n, tokens, width), at inputs that are
            one behind the texts.
        at, taught_at: where each text has that token, (n, tokens).
    """
    losses = []
    for one, other in zip(student, teacher, strict=True):
        ours = one[F.pad(at, (1, 0))[:, : one.shape[1]]]
        theirs = other[F.pad(taught_at, (1, 0))[:, : other.shape[1]]].detach()
        losses.append(F.smooth_l1_loss(ours / theirs.std(), theirs / theirs.std()))
    return torch.stack(losses).mean()


def decode(
    decoder: Decoder,
    thoughts: Float[Tensor, "n thoughts width"],
    slots: int,
    length: int,
    end: int,
) -> Int[Tensor, "n slots length"]:
    """Let the decoder write up to `length` tokens from each slot's thoughts; pads
    follow the token `end`.
    """
    made = decoder.model.generate(
        rearrange(thoughts, "n (s c) d -> (n s) c d", s=slots), length, stop=[end]
    )
    before = F.pad(
        (made == end).cumsum(1), (1, -1)
    )  # how many ends come before each token
    made = F.pad(made * (before == 0), (0, length - made.shape[1]))
    return rearrange(made, "(n s) l -> n s l", s=slots)
