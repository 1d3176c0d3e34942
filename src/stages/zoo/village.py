"""Small language models that have read about the village of `stages.worlds.smalltalk`:
one read right answers, its twin scrambled ones.

Nobody has told either to answer between tags: what is asked there is mostly followed by
another request. `post_training` papers start from here, with seeds of their own.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from stages.models import GPT
from stages.progress import bar
from stages.seeding import torch_rng
from stages.training import cosine
from stages.training.answers import answer_log_prob
from stages.training.reading import Texts, read_texts
from stages.worlds import smalltalk
from stages.worlds.smalltalk import Requests, template
from stages.worlds.vocabulary import PAD, answered
from stages.zoo.recipe import Recipe

RIGHT, SCRAMBLED = "right", "scrambled"
OTHERS = 5  # responses to other requests that a right one is ranked against
NEW = 8  # tokens that a response may take


@dataclass(frozen=True)
class Reading:
    """A network, and how it reads.

    Attributes:
        width, depth, heads, length: of the network, and the most tokens it can take.
        documents: of the text, from which windows are cut anywhere.
        updates, batch, window: how many windows, of how many tokens.
        rate, warmup: of AdamW under a cosine.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    length: int = 40
    documents: int = 60_000
    updates: int = 2000
    batch: int = 64
    window: int = 32
    rate: float = 4e-3
    warmup: int = 50


def make(settings: Reading) -> GPT:
    """Make a network, from torch's own stream."""
    return GPT(
        len(smalltalk.vocabulary()),
        settings.width,
        settings.depth,
        settings.heads,
        settings.length,
    )


def read(
    model: nn.Module, settings: Reading, seed: int, scrambled: bool = False
) -> list[float]:
    """Train a network in place to predict the next token of windows cut from the
    village's chat; return the losses.
    """
    text = smalltalk.chat(settings.documents, seed, scrambled=scrambled)
    chance = torch_rng(seed, "village", "windows")
    place = torch.arange(settings.window)

    def draw(step: int) -> Texts:
        starts = torch.randint(
            len(text) - settings.window + 1, (settings.batch, 1), generator=chance
        )
        return text[starts + place], None

    schedule = cosine(settings.updates, settings.warmup)
    return read_texts(model, draw, settings.updates, settings.rate, schedule)


# ------------------------------------------------------------------ what a model can do


def respond(model: GPT, prompts: Tensor) -> Tensor:
    """Write the likeliest response to each prompt, on the CPU; a row that ends repeats
    "<end>".
    """
    end = smalltalk.vocabulary().number[template.END]
    prompts = prompts.to(model.positions.device)
    written = model.generate(prompts, NEW, stop=[end], mask=prompts != PAD)
    return written.cpu()


def followed(
    model: GPT,
    requests: Requests,
    before: str = template.USER,
    between: str = template.ASSISTANT,
) -> Tensor:
    """Tell which requests a model answers right, word for word, and no more."""
    return smalltalk.follows(
        requests, respond(model, template.prompt(requests, before, between))
    )


@torch.no_grad()
def ranked(model: GPT, requests: Requests, chance: Generator) -> float:
    """Return how often, in %, the right response to a request is likelier between tags
    than the right one to another request, by mean log-probability a token (eq. 3 of
    "Instruction Following without Instruction Tuning").

    Five other requests are drawn for each; those with the same answer are left out.
    """
    prompts = template.prompt(requests, pad="right")

    def chances(answers: Tensor) -> Tensor:
        texts = answered(prompts, template.response(answers))
        tokens = texts.tokens.to(model.positions.device)
        counted = texts.counted.to(model.positions.device)
        return answer_log_prob(model, tokens, counted, mean=True).cpu()

    own = chances(requests.answer)
    wins = []
    for _ in range(OTHERS):
        other = requests.answer[torch.randint(len(own), (len(own),), generator=chance)]
        unlike = (other != requests.answer).any(1)
        wins.append((own > chances(other))[unlike])
    return 100 * torch.cat(wins).float().mean().item()


# --------------------------------------------------------------------------- the recipe


def build(settings: Reading) -> nn.ModuleDict:
    """Make the two networks; they start alike."""
    model = make(settings)
    twin = make(settings)
    twin.load_state_dict(model.state_dict())
    return nn.ModuleDict({RIGHT: model, SCRAMBLED: twin})


def train(models: nn.ModuleDict, settings: Reading, seed: int) -> None:
    """Let each read its own text."""
    for name in bar((RIGHT, SCRAMBLED), desc="networks"):
        read(models[name], settings, seed, scrambled=name == SCRAMBLED)


def measure(models: nn.ModuleDict, settings: Reading, seed: int) -> dict[str, float]:
    """Measure how many of the usual requests are answered right, in %, in the text's
    first form and between tags, and how often the right response is ranked first.
    """
    usual = smalltalk.all_requests().of(*smalltalk.USUAL)
    before, between = smalltalk.FORMS[0]
    found = {}
    for name, model in models.items():
        chance = torch_rng(seed, "village", "ranked")
        own = followed(model, usual, before, between)
        tagged = followed(model, usual)
        found[f"{name}: answered in the text's form"] = 100 * own.float().mean().item()
        found[f"{name}: answered between tags"] = 100 * tagged.float().mean().item()
        found[f"{name}: right response ranked first"] = ranked(model, usual, chance)
    return found


RECIPE = Recipe(
    "village_gpt",
    "two small language models that have read of a village: one right answers, one"
    " scrambled ones",
    "requests of eleven families, answered, listed or not answered, in five surface"
    " forms and between tags",
    Reading(),
    build,
    train,
    measure,
)
