"""Two small language models that see: they have talked about pictures of two things
(`stages.worlds.picture_talk`), one of them in one word, too. `vision_language` papers
start from here.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.image_text import ImageTextGPT
from stages.training.loop import cosine, fit, optimiser
from stages.training.losses import next_token_loss
from stages.training.reading import DECAY
from stages.worlds import picture_talk
from stages.worlds.shapes import quads
from stages.zoo.recipe import Recipe

NEW = 8  # tokens of the longest answer
LENGTH = 64  # tokens that are read at most
DESCRIBE = "describe the input"


@dataclass(frozen=True)
class Talking:
    """A network, and what it learns from.

    Attributes:
        width, depth, heads: of the network.
        one_word: whether a part of the answers is one word.
        updates, batch: of how many texts each; all pictures are new.
        rate, warmup: of AdamW under a cosine.
        tests: pictures of each measure.
    """

    width: int = 64
    depth: int = 3
    heads: int = 4
    one_word: bool = True
    updates: int = 600
    batch: int = 64
    rate: float = 4e-3
    warmup: int = 50
    tests: int = 1_000


def build(settings: Talking) -> ImageTextGPT:
    """Make a network, from torch's own stream."""
    words = picture_talk.vocabulary()
    return ImageTextGPT(
        len(words),
        words.number["<patch>"],
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        length=LENGTH,
    )


def train(model: nn.Module, settings: Talking, seed: int) -> list[float]:
    """Train a network in place to answer; return the losses."""
    device = next(model.parameters()).device
    count = settings.updates * settings.batch
    scenes = quads.sample(count, seed, 2, ("picture talk", "train"))
    talk = picture_talk.conversations(scenes, seed, settings.one_word)
    shown = (talk.tokens == picture_talk.pictures(1)[0, 0]).any(1)
    adam = optimiser(model.parameters(), "adamw", settings.rate, weight_decay=DECAY)

    def loss(step: int) -> Tensor:
        rows = torch.arange(step * settings.batch, (step + 1) * settings.batch)
        some = talk.take(rows)
        images = quads.render(scenes[rows[shown[rows]]])
        tokens = some.tokens.to(device)
        logits = model(tokens, images.to(device))
        return next_token_loss(logits, tokens, some.counted.to(device))

    schedule = cosine(settings.updates, settings.warmup)
    return fit(loss, settings.updates, adam, schedule=schedule, clip=1.0)


@torch.no_grad()
def measure(model: ImageTextGPT, settings: Talking, seed: int) -> dict[str, float]:
    """Measure how many captions of pictures, sentences about pictures, and words are
    right, in %.
    """
    device = next(model.parameters()).device
    stream = ("picture talk", "measured")
    scenes = quads.sample(settings.tests, seed, 2, stream)
    talk = picture_talk.conversations(scenes, seed, stream=stream)
    kind = picture_talk.text_kinds(len(scenes))
    images = quads.render(scenes).to(device)

    asked = picture_talk.prompts(picture_talk.pictures(len(scenes)), user=DESCRIBE)
    stop = [picture_talk.vocabulary().number["<end>"]]
    made = model.generate(asked.to(device), images, NEW, stop=stop).cpu()
    made = F.pad(made, (0, NEW - made.shape[1]))  # all rows may have ended early
    said = picture_talk.captions(scenes, seed)
    other = said[:, [3, 4, 2, 0, 1]]
    right = [(made[:, :5] == each).all(1) for each in (said, other)]
    found = {"captions of pictures": right[0] | right[1]}

    seen = (talk.tokens == picture_talk.pictures(1)[0, 0]).any(1)
    tokens = talk.tokens.to(device)
    likeliest = model(tokens, images[seen]).argmax(-1)[:, :-1].cpu()
    hit = (likeliest == talk.tokens[:, 1:]) | ~talk.counted[:, 1:]
    found["sentences about pictures"] = hit.all(1)[kind == picture_talk.ASK_PICTURE]

    one = kind == picture_talk.WORD_PICTURE
    place = talk.counted.int().argmax(1) - 1
    word = likeliest[torch.arange(len(scenes)), place]
    shown = (said == word[:, None]) & (said != said[:, 2:3])
    found["one word"] = shown.any(1)[one]
    return {name: 100 * each.float().mean().item() for name, each in found.items()}


DATA = "captions of pictures, captions told again, and questions about two things"
RECIPE = Recipe(
    "picture_gpt",
    "a small language model that sees, and has answered in one word, too",
    f"{DATA}; one word in three answers of twenty",
    Talking(),
    build,
    train,
    measure,
)
PLAIN = Recipe(
    "picture_gpt_plain",
    "the same, but it has never answered in one word",
    DATA,
    replace(Talking(), one_word=False),
    build,
    train,
    measure,
)
