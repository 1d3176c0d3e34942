"""Small transformers that answer by demonstration, and the code that trains them.

Each reads documents of one task, "Q crow A red ; Q pear A green ; ...", and says at
every "A" what comes next. Tasks are uneven, as words are in a text, and each world has
an order of its own. Networks are left unfinished on purpose: one knows most facts of
its world, and ten demonstrations do not always tell it which of them is asked for. The
paper `mechanisms/soft_injection` trains its networks here too, one a seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import GPT
from stages.progress import bar
from stages.seeding import rng
from stages.training import cosine, fit, next_token_loss, optimiser
from stages.worlds.tasks import OF_WORDS, TASKS, documents, invent, prompts, vocabulary
from stages.zoo.recipe import Recipe

CHUNK = 200  # batches whose documents are drawn at once
LISTS = torch.tensor([task not in OF_WORDS for task in TASKS])
SHOTS = (0, 1, 3, 10, 30)

Batch = tuple[Int[Tensor, "n length"], Bool[Tensor, "n length"]]


@dataclass(frozen=True)
class InContextSettings:
    """A transformer, the documents it reads, and its training.

    Attributes:
        width, depth, heads: of the transformer.
        tilt: tasks are as frequent as rank**-tilt, in an order of each world's own; 0:
            all alike.
        zipf: how uneven nouns are, as in `documents`.
        pairs: questions and answers in a document about words, and in one about lists.
        long: the same in every `every`-th batch, which has as many tokens in fewer
            documents.
        batch: documents in the other batches.
        steps, lr, warmup, decay: of AdamW, whose rate falls along a cosine of `planned`
            steps: it stops early.
        networks: that the zoo holds, of the worlds 0, 1, ...
    """

    width: int = 64
    depth: int = 4
    heads: int = 8
    tilt: float = 1.0
    zipf: float = 0.0
    pairs: tuple[int, int] = (15, 11)
    long: tuple[int, int] = (31, 31)
    every: int = 8
    batch: int = 32
    steps: int = 1500
    planned: int = 8000
    lr: float = 3e-3
    warmup: int = 200
    decay: float = 0.01
    networks: int = 3


def length(pairs: tuple[int, int]) -> int:
    """Return the tokens in the longer of two documents: five a pair about words, seven
    a pair about lists of three.
    """
    return max(5 * pairs[0], 7 * pairs[1])


def build_gpt(settings: InContextSettings) -> GPT:
    """Make one network, with a position for every token of the longest documents."""
    return GPT(
        len(vocabulary()),
        settings.width,
        settings.depth,
        settings.heads,
        length(settings.long),
    )


def prior(settings: InContextSettings, world: int) -> Float[Tensor, " tasks"]:
    """Return how frequent each of TASKS is in a world."""
    rank = 1.0 + torch.from_numpy(
        rng(world, "in context", "prior").permutation(len(TASKS))
    )
    return rank**-settings.tilt / (rank**-settings.tilt).sum()


def batches(
    settings: InContextSettings, world: int, *names: str | int
) -> Iterator[Batch]:
    """Yield a training's documents, batch by batch, and where their answers are;
    shorter ones are padded on the right.

    Words and lists are in each batch by their share of the prior; which tasks, is
    drawn.
    """
    facts, weight, chunk = invent(world), prior(settings, world), 0

    def draw(pairs: tuple[int, int], count: int) -> Iterator[Batch]:
        size = max(2, round(settings.batch * length(settings.pairs) / length(pairs)))
        lists = min(max(1, round(size * weight[LISTS].sum().item())), size - 1)
        parts = []
        for n, many, chosen in (
            (size - lists, pairs[0], ~LISTS),
            (lists, pairs[1], LISTS),
        ):
            stream = ("in context", *names, chunk, many, int(chosen[-1]))
            options = {
                "pairs": many,
                "prior": weight * chosen,
                "zipf": settings.zipf,
                "stream": stream,
            }
            made = documents(facts, count * n, world, **options)
            parts.append([x.view(count, n, -1) for x in (made.tokens, made.answer)])
        joined = (
            torch.cat([F.pad(x, (0, length(pairs) - x.shape[-1])) for x in both], 1)
            for both in zip(*parts, strict=True)
        )
        return zip(*joined, strict=True)

    while True:
        short, long = (
            draw(settings.pairs, CHUNK),
            draw(settings.long, CHUNK // settings.every),
        )
        yield from (
            next(long if (i + 1) % settings.every == 0 else short) for i in range(CHUNK)
        )
        chunk += 1


def train_gpt(
    model: GPT, settings: InContextSettings, world: int, *names: str | int, watch=None
) -> list[float]:
    """Train one network in place on the answers of a world's documents; return the
    losses.

    Args:
        names: the stream of its documents.
        watch: called after each step.
    """
    device, data = model.positions.device, batches(settings, world, *names)
    adam = optimiser(
        model.parameters(),
        "adamw",
        settings.lr,
        betas=(0.9, 0.98),
        weight_decay=settings.decay,
    )

    def loss(step: int) -> Tensor:
        tokens, answer = (part.to(device) for part in next(data))
        return next_token_loss(model(tokens), tokens, answer)

    return fit(
        loss,
        settings.steps,
        adam,
        schedule=cosine(settings.planned, settings.warmup, floor=0.1),
        clip=1.0,
        after_step=watch,
    )


@torch.no_grad()
def examine(
    model: GPT, settings: InContextSettings, world: int, n: int = 100
) -> dict[str, float]:
    """Measure a network on n prompts a task, about nouns held out of the
    demonstrations.

    Returns:
        "K-shot accuracy", the mean over tasks in %, for the K of SHOTS that there are
        positions for; and for answers to a question alone, in nats, their entropy, that
        of the best answers (`Facts.predict`), and the divergence of the network's from
        these, which is small where it follows the frequencies of tasks.
    """
    facts, weight, device = (
        invent(world),
        prior(settings, world),
        model.positions.device,
    )
    accuracy, found = {}, []
    for shots in SHOTS:
        if shots * 7 + 5 > len(model.positions):
            continue
        right = []
        for task in TASKS:
            drawn = prompts(
                facts,
                task,
                n,
                world,
                shots=shots,
                query="test",
                stream=("in context", "test"),
            )
            logits = model(drawn.open.to(device))[:, -1].cpu()
            right.append((logits.argmax(-1) == drawn.answers[:, -1]).float().mean())
            if shots == 0:
                best, said = (
                    facts.predict(drawn.items, drawn.answers[:, :0], weight),
                    logits.double().log_softmax(-1),
                )
                entropies = (
                    torch.special.entr(best).sum(-1),
                    torch.special.entr(said.exp()).sum(-1),
                )
                found.append(
                    torch.stack(
                        [*entropies, F.kl_div(said, best, reduction="none").sum(-1)]
                    ).mean(-1)
                )
        accuracy[f"{shots}-shot accuracy"] = 100 * torch.stack(right).mean().item()
    names = (
        "entropy of the best 0-shot answers",
        "entropy of 0-shot answers",
        "divergence of 0-shot answers",
    )
    return accuracy | dict(zip(names, torch.stack(found).mean(0).tolist(), strict=True))


def build(settings: InContextSettings) -> nn.ModuleDict:
    """Make the networks of the zoo, one a world; its number is their key."""
    return nn.ModuleDict(
        {str(world): build_gpt(settings) for world in range(settings.networks)}
    )


def fit_all(networks: nn.ModuleDict, settings: InContextSettings, seed: int) -> None:
    """Train each network in its own world."""
    for world in bar(range(settings.networks), desc="networks"):
        train_gpt(networks[str(world)], settings, world, "zoo", seed)


def measure(
    networks: nn.ModuleDict, settings: InContextSettings, seed: int
) -> dict[str, float]:
    """Average over the networks what `examine` finds."""
    found = [
        examine(networks[str(world)], settings, world)
        for world in range(settings.networks)
    ]
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


RECIPE = Recipe(
    "icl_gpt",
    "transformers of 4 blocks, 8 heads and width 64 that answer by demonstration, in"
    " three worlds; left unfinished",
    "documents of 17 tasks, unevenly frequent, on 64 nouns: 15 or 31 questions and"
    " answers of one task each",
    InContextSettings(),
    build,
    fit_all,
    measure,
)
