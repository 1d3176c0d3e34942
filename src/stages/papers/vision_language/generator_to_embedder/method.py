"""Generator to embedder: a generative model embeds what it is asked to put in one word,
and its own embeddings choose the negatives that it is then fine-tuned with.

Ju and Lee, "From Generator to Embedder: Harnessing Innate Abilities of Multimodal LLMs
via Building Zero-Shot Discriminative Embedding Model", arXiv 2508.00955. The embedding
is the last state of a hierarchical prompt. SaHa looks for hard candidates, goes to the
queries that own them, drops those that resemble the anchor, and trains on the anchor
and the others together. Equations are numbered as on the page.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.image_text import ImageTextGPT
from stages.models.lora import add_lora
from stages.training.loop import Schedule, fit, optimiser
from stages.worlds import picture_talk
from stages.worlds.vocabulary import PAD

NEGATIVES = 15  # K, of an anchor
TIMES = 3  # m: the filter chooses from K m owners, found among 2 K m candidates
TEMPERATURE = 0.02
RANK, ALPHA = 8, 64.0  # of LoRA
WARMUP = 1 / 15  # of the updates
LAYERS = ("attention.qkv", "attention.project", "mlp.0", "mlp.2")

Vectors = Float[Tensor, "n width"]
Clusters = Int[Tensor, "clusters members"]

# ------------------------------------------------------------------------ the embedding


@dataclass(frozen=True)
class Inputs:
    """What is embedded: prompts with pads on the right, and the pictures in them."""

    tokens: Int[Tensor, "n length"]
    images: Float[Tensor, "n 3 16 16"] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Int[Tensor, " m"]) -> "Inputs":
        """Return some of them."""
        images = None if self.images is None else self.images[rows]
        return Inputs(self.tokens[rows], images)

    def to(self, device: torch.device) -> "Inputs":
        """Return them on a device."""
        images = None if self.images is None else self.images.to(device)
        return Inputs(self.tokens.to(device), images)


@dataclass(frozen=True)
class Prompt:
    """A system message for queries and candidates, and a user's line for each."""

    system: str = ""
    query: str = ""
    candidate: str = ""

    def write(
        self, content: Int[Tensor, "n tokens"], images: Tensor | None, query: bool
    ) -> Inputs:
        """Put contents, captions or the slots of images, into the prompt."""
        line = self.query if query else self.candidate
        return Inputs(picture_talk.prompts(content, self.system, line), images)


# the system defines the task on both sides, the user's line is for queries only
HIERARCHICAL = Prompt(picture_talk.SYSTEM, picture_talk.USER)


def last_token(tokens: Int[Tensor, "n length"]) -> Int[Tensor, " n"]:
    """Return where each row's last token is that is no pad."""
    return (tokens != PAD).sum(1) - 1


def embed(model: ImageTextGPT, inputs: Inputs) -> Vectors:
    """Return the final state at the last token, from which an answer would begin,
    brought to length 1 (eq. 1). Gradients flow.
    """
    inputs = inputs.to(model.places.device)
    states = model.final_states(inputs.tokens, inputs.images)
    rows = torch.arange(len(states), device=states.device)
    last = last_token(inputs.tokens)
    return F.normalize(states[rows, last], dim=-1)  # eq. 1


# ------------------------------------------------------------------------------- mining


class SaHa:
    """Self-aware hard negative sampling: clusters of pairs that are hard for one
    another.

    Args:
        queries, candidates: zero-shot embeddings of both sides of all pairs.
        keys: of each pair's candidate, equal where candidates are exactly equal.
        negatives, times: K and m.
    """

    def __init__(
        self,
        queries: Vectors,
        candidates: Vectors,
        keys: Int[Tensor, " n"],
        negatives: int = NEGATIVES,
        times: int = TIMES,
    ):
        self.negatives, self.times = negatives, times
        self.keys = keys.tolist()
        self.owners = defaultdict(list)  # D2Q: the queries whose candidate has a key
        for query, key in enumerate(self.keys):
            self.owners[key].append(query)
        self.unique = torch.tensor([own[0] for own in self.owners.values()])
        self.hardness = queries @ candidates[self.unique].T  # e(q) . e(c)
        self.likeness = queries @ queries.T  # e(q) . e(o)

    def find_owners(self, anchor: int, most: int, free: set[int]) -> list[int]:
        """Return up to so many free queries that own hard candidates, the hardest
        candidate's first.
        """
        pool = min(2 * self.negatives * self.times, len(self.unique))
        hard = self.unique[self.hardness[anchor].topk(pool).indices]  # eq. 2
        likeness = self.likeness[anchor].tolist()
        found = []
        for key in (self.keys[candidate] for candidate in hard.tolist()):
            own = [query for query in self.owners[key] if query in free]
            if key == self.keys[anchor] or not own:
                continue
            found.append(max(own, key=likeness.__getitem__))  # eq. 3
            if len(found) == most:
                break
        return found

    def choose(self, anchor: int, owners: list[int]) -> list[int]:
        """Keep K owners, those least like the anchor: the safest negatives (eq. 4)."""
        safest = sorted(owners, key=self.likeness[anchor].tolist().__getitem__)
        return safest[: self.negatives]  # eq. 4

    def clusters(self) -> Clusters:
        """Return clusters of an anchor, in front, and its K negatives.

        A query is in one cluster, or in two if the anchors that were left over by the
        first pass had too few free owners otherwise. Anchors that have too few in the
        second pass as well get no cluster.
        """
        first = self._go_through([0] * len(self.keys), 1, self.negatives * self.times)
        used = [0] * len(self.keys)
        for query in (query for cluster in first for query in cluster):
            used[query] += 1
        second = self._go_through(used, 2, 2 * self.negatives * self.times)
        return torch.tensor(first + second).view(-1, 1 + self.negatives)

    def _go_through(self, used: list[int], limit: int, most: int) -> list[list[int]]:
        """Make clusters of queries that are in fewer than `limit` ones; only who is in
        none becomes an anchor.
        """
        used, made = list(used), []
        free = {query for query, times in enumerate(used) if times < limit}
        for anchor in range(len(used)):
            if used[anchor]:
                continue
            chosen = self.choose(anchor, self.find_owners(anchor, most, free))
            if len(chosen) < self.negatives:
                continue
            made.append([anchor, *chosen])
            for query in made[-1]:
                used[query] += 1
            free.difference_update(q for q in made[-1] if used[q] >= limit)
        return made


# -------------------------------------------------------------------------- fine-tuning


def info_nce(
    queries: Vectors, candidates: Vectors, temperature: float = TEMPERATURE
) -> Float[Tensor, ""]:
    """Return the loss of telling each query's candidate from those of the others in the
    batch, from queries to candidates alone (eq. 5).
    """
    logits = queries @ candidates.T / temperature
    own = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, own)  # eq. 5


@dataclass(frozen=True)
class Pairs:
    """Queries with their candidates, all of one task."""

    queries: Inputs
    candidates: Inputs


def linear(steps: int) -> Schedule:
    """Rise over the warm-up, then fall to 0 in a straight line."""
    warmup = max(1, round(WARMUP * steps))
    return lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup + 1))


def fine_tune(
    model: nn.Module,
    tasks: Sequence[Pairs],
    batches: Sequence[Int[Tensor, " batch"]],
    rate: float,
    temperature: float = TEMPERATURE,
) -> list[float]:
    """Train a low-rank change of a model in place; return the losses.

    Args:
        tasks: take turns, one an update.
        batches: which pairs of its task each update takes.
        rate: of AdamW, at its highest.
    """
    changes = add_lora(model, *LAYERS, rank=RANK, alpha=ALPHA)
    adam = optimiser(changes, "adamw", rate, weight_decay=0.0)

    def loss(step: int) -> Tensor:
        pairs, rows = tasks[step % len(tasks)], batches[step]
        queries = embed(model, pairs.queries.take(rows))
        candidates = embed(model, pairs.candidates.take(rows))
        return info_nce(queries, candidates, temperature)

    return fit(loss, len(batches), adam, schedule=linear(len(batches)), clip=1.0)
