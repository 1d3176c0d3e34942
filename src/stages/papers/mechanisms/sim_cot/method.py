"""SIM-CoT: thoughts that are vectors, and a decoder that must write a step from each.

Wei, Liu, Zang, Dong, Cao, Wang, Qiu & Lin, "SIM-CoT: Supervised Implicit
Chain-of-Thought", ICLR 2026, arXiv 2509.20317. Coconut (Hao et al. 2024) feeds a
network's last state back to it K times in place of written steps, and trains the
answer alone. SIM-CoT adds a second network, in training only, that has to write step k
from thought k; its gradient goes through the thought into the network that thinks.

One thing differs: a thought is brought to the length of an embedding before it is fed
back. In the paper it is not; here it would be ten times as long, and what the blocks
add to it would be lost.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from stages.models import GPT, Cache
from stages.papers.mechanisms.sim_cot.problems import Problems
from stages.worlds.vocabulary import PAD, Vocabulary

Thoughts = Float[Tensor, "n thoughts width"]
Word = Int[Tensor, "n 1"]
Text = Int[Tensor, "n length"]
Targets = Int[Tensor, "n slots length"]
Edit = Callable[[int, Float[Tensor, "n 1 width"]], Float[Tensor, "n 1 width"]]


class Thinker(nn.Module):
    """Coconut: a language model that thinks in vectors before it answers.

    Args:
        model: is copied.
        words: of its problems.
        most: steps of a problem that it is trained on.
        thoughts: K. There are min(K, most) slots, one a step, with K / slots thoughts
            each; the last slot holds all steps that are left.

    Attributes:
        thinks: whether there are thoughts to look into.

    Raises:
        ValueError: the thoughts do not share out among the slots.
    """

    thinks = True

    def __init__(self, model: GPT, words: Vocabulary, most: int, thoughts: int = 4):
        super().__init__()
        self.model = deepcopy(model)
        self.words = words.number
        self.most = most
        self.thoughts = thoughts
        self.slots = min(thoughts, most)
        if thoughts % self.slots:
            raise ValueError(
                f"{thoughts} thoughts do not share out among {self.slots} slots"
            )
        self.per_slot = thoughts // self.slots
        length = model.embedding.weight.detach().norm(dim=1).mean()
        self.project = Scaled(length)
        self.reader = None

    @property
    def last(self) -> int:
        """The stage in which no step is written any more."""
        return self.slots + (self.slots < self.most)

    def read(self, problems: Problems) -> tuple[Cache, Word]:
        """Read questions but for the last word, which comes with what follows."""
        question = problems.question[:, :-1]
        _, cache = self.model.extend(question, mask=question != PAD)
        return cache, problems.question[:, -1:]

    def think(
        self, cache: Cache, word: Word, count: int, edit: Edit | None = None
    ) -> tuple[Thoughts, Cache]:
        """Feed the last state back `count` times (eq. 1); nothing is detached.

        `edit` may change a thought, by its index, before it is fed back.
        """
        start = torch.cat([word, self.mark("<thought>", word)], 1)
        states, cache = self.model.extend(start, cache)  # U_0
        thoughts = []
        for k in range(count):
            thought = self.project(states[:, -1:])  # eq. 1: z_k = H(U_k-1)
            if edit is not None:
                thought = edit(k, thought)
            thoughts.append(thought)
            states, cache = self.model.extend(thought, cache)  # eq. 1: U_k
        return torch.cat(thoughts, 1), cache

    def mark(self, name: str, like: Word) -> Word:
        """Return one word for each problem."""
        return torch.full_like(like, self.words[name])

    def text_loss(self, cache: Cache, word: Word, text: Text) -> Float[Tensor, ""]:
        """Return the mean of -log p(text) after what was read and one more word."""
        states, _ = self.model.extend(torch.cat([word, text[:, :-1]], 1), cache)
        logits = self.model.logits(states)
        return F.cross_entropy(logits.flatten(0, 1), text.flatten(), ignore_index=PAD)

    def answer_loss(
        self, problems: Problems, stage: int
    ) -> tuple[Float[Tensor, ""], Thoughts]:
        """Return L_answer, and the thoughts. In stage s the steps of the first s slots
        are thought; the others stand before the answer, in the last stage none.
        """
        cache, word = self.read(problems)
        count = min(stage, self.slots) * self.per_slot
        thoughts, cache = self.think(cache, word, count)
        text = problems.text(self.most if stage == self.last else stage)
        loss = self.text_loss(cache, self.mark("</thought>", word), text)  # eq. 2
        return loss, thoughts

    def loss(
        self, problems: Problems, stage: int, chance: Generator | None = None
    ) -> Float[Tensor, ""]:
        """Return what an update lessens; `chance` is for those who draw."""
        return self.answer_loss(problems, stage)[0]

    @torch.no_grad()
    def solve(
        self, problems: Problems, edit: Edit | None = None
    ) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Thoughts | None]:
        """Answer; return the answers as tokens (0 for none), how many tokens that took,
        thoughts counted, and the thoughts.
        """
        cache, word = self.read(problems)
        thoughts, cache = self.think(cache, word, self.thoughts, edit)
        mark = self.mark("</thought>", word)
        answers, written = self.write(cache, mark, problems.answer.shape[1])
        return answers, self.thoughts + written, thoughts

    def write(
        self, cache: Cache, word: Word, most: int
    ) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Write up to "<end>"; return the word after "<answer>", and how many words."""
        end = self.words["<end>"]
        made = self.model.generate(word, most, stop=[end], cache=cache)
        written = (made != end).cumprod(1).sum(1) + 1
        marked = made == self.words["<answer>"]
        after = F.pad(made, (0, 1))[:, 1:]
        answer = after.gather(1, marked.int().argmax(1, keepdim=True))[:, 0]
        return answer * marked.any(1), written.clamp(max=made.shape[1])


class SimCoT(Thinker):
    """SIM-CoT: Coconut, with a decoder that must write step k from thought k alone.

    What a slot without a step says, and how losses are normalised, is as released.
    """

    weight = 1.0  # λ of eq. 4
    empty = "answer"
    per_token = False

    def __init__(self, model: GPT, words: Vocabulary, most: int, thoughts: int = 4):
        super().__init__(model, words, most, thoughts)
        self.reader = StepDecoder(self.model)

    def loss(
        self, problems: Problems, stage: int, chance: Generator | None = None
    ) -> Float[Tensor, ""]:
        """Return L_answer + λ L_step, the steps being those that are thought."""
        answer, thoughts = self.answer_loss(problems, stage)  # eq. 2
        targets = self.targets(problems, stage, chance)
        heard = self.heard(thoughts)
        step = step_loss(self.reader, heard, targets, self.per_token)  # eq. 3
        return answer + self.weight * step  # eq. 4

    def targets(
        self, problems: Problems, stage: int, chance: Generator | None
    ) -> Targets:
        """Return what is to be written from each slot."""
        return problems.slots(self.slots, self.empty)[:, : min(stage, self.slots)]

    def heard(self, thoughts: Thoughts) -> Thoughts:
        """Return what the decoder is given: the thoughts, with their gradients."""
        return thoughts


class StepDecoder(nn.Module):
    """The decoder p_φ: a copy of the base that reads with the base's own embedding.

    Its output weights start as that embedding. Thoughts stand where its first tokens
    would.
    """

    def __init__(self, base: GPT):
        super().__init__()
        self.model = deepcopy(base)
        self.model.embedding = base.embedding
        words, width = base.embedding.weight.shape
        self.model.head = nn.Linear(width, words, bias=False)
        self.model.head.weight = nn.Parameter(base.embedding.weight.detach().clone())

    def forward(
        self, thoughts: Float[Tensor, "rows c width"], text: Int[Tensor, "rows length"]
    ) -> Float[Tensor, "rows length vocabulary"]:
        """Return the logits of each token, given thoughts and the tokens before it."""
        read = torch.cat([thoughts, self.model.embedding(text[:, :-1])], 1)
        states, _ = self.model.extend(read)
        return self.model.logits(states[:, thoughts.shape[1] - 1 :])

    def write(
        self, thoughts: Thoughts, slots: int, length: int, end: int
    ) -> Int[Tensor, "n slots length"]:
        """Write up to `length` tokens from each slot's thoughts; pads follow `end`."""
        alone = rearrange(thoughts, "n (s c) d -> (n s) c d", s=slots)
        made = self.model.generate(alone, length, stop=[end])
        ends_before = F.pad((made == end).cumsum(1), (1, -1))
        made = F.pad(made * (ends_before == 0), (0, length - made.shape[1]))
        return rearrange(made, "(n s) l -> n s l", s=slots)


def step_loss(
    reader: nn.Module, thoughts: Thoughts, targets: Targets, per_token: bool = False
) -> Float[Tensor, ""]:
    """Return L_step (eq. 3): each step's -log p, given its own slot's thoughts alone.

    A slot's sum is divided by the number of problems that have a target in it, or of
    tokens if so asked; slots with targets are averaged. Pads are left out.
    """
    slots = targets.shape[1]
    alone = rearrange(thoughts, "n (s c) d -> (n s) c d", s=slots)
    text = rearrange(targets, "n s l -> (n s) l")
    logits = reader(alone, text)
    nll = F.cross_entropy(logits.mT, text, ignore_index=PAD, reduction="none")
    per_slot = nll.view_as(targets).sum((0, 2))
    there = targets != PAD
    count = (there if per_token else there.any(2, keepdim=True)).sum((0, 2))
    return (per_slot / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class Scaled(nn.Module):
    """Vectors brought to one length."""

    def __init__(self, length: Float[Tensor, ""]):
        super().__init__()
        self.register_buffer("length", length.clone())

    def forward(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Return x at that length."""
        return self.length * F.normalize(x, dim=-1)
