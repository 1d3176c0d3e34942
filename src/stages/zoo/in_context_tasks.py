"""Small transformers that answer by demonstration, and the code that trains them.

Each reads documents of one task, "Q crow A red ; Q pear A green ; ...", and says at
every "A" what comes next. It knows both ledgers of its world. Which of them it answers
from depends on what the document has shown.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.models import GPT
from stages.progress import bar
from stages.seeding import torch_rng
from stages.training import cosine, fit, next_token_loss, optimiser
from stages.worlds import ledgers
from stages.zoo.recipe import Recipe

SHOTS = (0, 1, 3, 10)


@dataclass(frozen=True)
class InContextSettings:
    """A transformer, the documents it reads, and its training.

    Attributes:
        width, depth, heads: of the transformer.
        pairs: questions and answers in a document.
        batch: documents in an update.
        steps, lr, warmup, decay: of AdamW, whose rate falls along a cosine.
        networks: that the zoo holds, of the worlds 0, 1, ...
    """

    width: int = 64
    depth: int = 4
    heads: int = 8
    pairs: int = 12
    batch: int = 32
    steps: int = 1200
    lr: float = 3e-3
    warmup: int = 100
    decay: float = 0.01
    networks: int = 3


def build_gpt(settings: InContextSettings) -> GPT:
    """Make one network, with a position for every token of a document."""
    return GPT(
        len(ledgers.vocabulary()),
        settings.width,
        settings.depth,
        settings.heads,
        ledgers.PAIR * settings.pairs,
    )


def train_gpt(
    model: GPT, settings: InContextSettings, world: int, *names: str | int
) -> list[float]:
    """Train one network in place on the answers of a world's documents; return the
    losses. `names` are the stream of its documents.
    """
    facts = ledgers.invent(world)
    device = model.positions.device
    adam = optimiser(
        model.parameters(),
        "adamw",
        settings.lr,
        betas=(0.9, 0.98),
        weight_decay=settings.decay,
    )

    def loss(step: int) -> Tensor:
        tokens = ledgers.documents(
            facts,
            settings.batch,
            world,
            pairs=settings.pairs,
            prior=ledgers.even(),
            stream=("in context", *names, step),
        ).to(device)
        answer = torch.zeros_like(tokens, dtype=torch.bool)
        answer[:, 3 :: ledgers.PAIR] = True
        return next_token_loss(model(tokens), tokens, answer)

    schedule = cosine(settings.steps, settings.warmup, floor=0.05)
    return fit(loss, settings.steps, adam, schedule=schedule, clip=1.0)


@torch.no_grad()
def examine(
    model: GPT, settings: InContextSettings, world: int, n: int = 100
) -> dict[str, float]:
    """Measure a network on n prompts a task, about toys drawn evenly.

    Returns:
        "K-shot accuracy", the mean over tasks in %, for the K of SHOTS that there are
        positions for.
    """
    facts = ledgers.invent(world)
    task = torch.arange(len(ledgers.TASKS)).repeat_interleave(n)
    chance = torch_rng(world, "in context", "test")
    toys = torch.rand(len(task), len(ledgers.TOYS), generator=chance).argsort(1)
    found = {}
    for shots in SHOTS:
        if shots < settings.pairs:
            tokens = facts.written(task, toys[:, -shots - 1 :])
            logits = model(tokens[:, :-2].to(model.positions.device))[:, -1]
            right = (logits.argmax(-1).cpu() == tokens[:, -2]).float()
            found[f"{shots}-shot accuracy"] = 100 * right.mean().item()
    return found


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
    "transformers of 4 blocks, 8 heads and width 64 that answer by demonstration from"
    " one of two ledgers, in three worlds",
    "documents of 12 tasks, in pairs that agree about 51 of 64 toys: 12 questions and"
    " answers of one task each",
    InContextSettings(),
    build,
    fit_all,
    measure,
)
