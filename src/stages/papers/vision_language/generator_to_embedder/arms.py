"""What every arm of a seed shares, and how an arm comes by its embeddings."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages import zoo
from stages.models import seeded
from stages.models.image_text import ImageTextGPT
from stages.papers.vision_language.generator_to_embedder.method import (
    HIERARCHICAL,
    Clusters,
    Inputs,
    Pairs,
    Prompt,
    SaHa,
    Vectors,
    embed,
    fine_tune,
)
from stages.seeding import torch_rng
from stages.training import pick_device
from stages.worlds import picture_talk
from stages.worlds.shapes import quads
from stages.worlds.vocabulary import PAD
from stages.zoo import picture_talk as talkers

TALKER, PLAIN = "picture_gpt", "picture_gpt_plain"
AT_ONCE = 400  # inputs that are embedded together
RISE = 12  # the rate of a base model rises in one of so many updates
Batches = Int[Tensor, "updates batch"]


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        reading: updates of a seed's own base models; with 0, those that come with the
            book are taken.
        pairs: of pictures and captions to be fine-tuned with.
        candidates: of a test, and queries.
        updates, batch: of fine-tuning.
        negatives: of an anchor; a cluster has one pair more.
        only: arms that are run; all where it is empty.
    """

    reading: int = 600
    pairs: int = 1_600
    candidates: int = 400
    updates: int = 40
    batch: int = 64
    negatives: int = 15
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """Pictures with captions.

    Attributes:
        kinds: equal where scenes are.
    """

    images: Float[Tensor, "n 3 16 16"]
    captions: Int[Tensor, "n 5"]
    kinds: Int[Tensor, " n"]

    @classmethod
    def draw(cls, n: int, seed: int, name: str) -> "Shown":
        """Draw a seed's scenes of some name."""
        stream = ("generator to embedder", name)
        scenes = quads.sample(n, seed, 2, stream)
        captions = picture_talk.captions(scenes, seed, stream)
        kinds = picture_talk.scene_kinds(scenes)
        return cls(quads.render(scenes), captions, kinds)

    def pairs(self, prompt: Prompt) -> tuple[Pairs, Pairs]:
        """Write both tasks: pictures ask for captions, and captions for pictures."""
        slots = picture_talk.pictures(len(self.images))
        picture, caption = (slots, self.images), (self.captions, None)
        return tuple(
            Pairs(prompt.write(*asking, query=True), prompt.write(*asked, query=False))
            for asking, asked in ((picture, caption), (caption, picture))
        )

    @property
    def keys(self) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Number the candidates of both tasks; equal captions have one number, and no
        two pictures are equal.
        """
        captions = self.captions.unique(dim=0, return_inverse=True)[1]
        return captions, torch.arange(len(captions))


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        models: the base models, by name.
        pool, tests: to be fine-tuned with, and to be tested on.
        vectors: of queries and of candidates of both tasks of the pool, before any
            fine-tuning: SaHa mines with them, once.
    """

    settings: Settings
    seed: int
    models: dict[str, ImageTextGPT]
    pool: Shown
    tests: Shown
    vectors: list[tuple[Vectors, Vectors]]


def make_lab(settings: Settings, seed: int) -> Lab:
    """Train or load the base models; draw a seed's pictures and captions."""
    models = {
        name: base_model(name, settings.reading, seed) for name in (TALKER, PLAIN)
    }
    pool = Shown.draw(settings.pairs, seed, "pool")
    tests = Shown.draw(settings.candidates, seed, "tests")
    vectors = embed_pairs(models[TALKER], pool.pairs(HIERARCHICAL))
    return Lab(settings, seed, models, pool, tests, vectors)


def base_model(name: str, reading: int, seed: int) -> ImageTextGPT:
    """Load a base model, or train one of a seed for so many updates. Both models of a
    seed start from the same weights.
    """
    if not reading:
        return zoo.load(name).to(pick_device())
    recipe = {TALKER: talkers.RECIPE, PLAIN: talkers.PLAIN}[name]
    settings = replace(recipe.settings, updates=reading, warmup=reading // RISE)
    with seeded(seed, "picture talk"):
        model = talkers.build(settings).to(pick_device())
    talkers.train(model, settings, seed)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def embed_all(
    model: ImageTextGPT, inputs: Inputs, how: Callable[..., Vectors] = embed
) -> Vectors:
    """Embed inputs, some at a time; return the vectors on the CPU."""
    parts = torch.arange(len(inputs)).split(AT_ONCE)
    return torch.cat([how(model, inputs.take(rows)).cpu() for rows in parts])


def embed_pairs(
    model: ImageTextGPT, tasks: Sequence[Pairs], how: Callable[..., Vectors] = embed
) -> list[tuple[Vectors, Vectors]]:
    """Embed queries and candidates of some tasks."""
    return [
        (embed_all(model, pairs.queries, how), embed_all(model, pairs.candidates, how))
        for pairs in tasks
    ]


def embed_mean(model: ImageTextGPT, inputs: Inputs) -> Vectors:
    """Embed as the mean of all final states instead of the last."""
    inputs = inputs.to(model.places.device)
    states = model.final_states(inputs.tokens, inputs.images)
    present = (inputs.tokens != PAD)[..., None]
    mean = (states * present).sum(1) / present.sum(1)
    return F.normalize(mean, dim=-1)


# ---------------------------------------------------------------- how batches are made


class HardestFirst(SaHa):
    """SaHa without its filter: the owners of the hardest candidates."""

    def choose(self, anchor: int, owners: list[int]) -> list[int]:
        """Keep the first K, which own the hardest candidates."""
        return owners[: self.negatives]


@dataclass(frozen=True)
class Course:
    """What an arm is fine-tuned with.

    Attributes:
        batches: which pairs each update takes; both tasks take turns.
        clusters: of each task, if there are any.
    """

    batches: Batches
    clusters: tuple[Clusters, ...] = ()


def at_random(lab: Lab) -> Course:
    """Go through the pairs again and again, each time in a new order."""
    single = torch.arange(lab.settings.pairs)[:, None]
    return Course(in_turns(lab, (single, single)))


def mined(kind: type[SaHa]) -> Callable[[Lab], Course]:
    """Return what mines clusters once, and goes through them again and again."""

    def make(lab: Lab) -> Course:
        each = zip(lab.vectors, lab.pool.keys, strict=True)
        clusters = tuple(
            kind(*vectors, keys, lab.settings.negatives).clusters()
            for vectors, keys in each
        )
        return Course(in_turns(lab, clusters), clusters)

    return make


def in_turns(lab: Lab, clusters: tuple[Clusters, ...]) -> Batches:
    """Fill batches of both tasks in turn with whole clusters, all of them in a new
    order each time they are used up.
    """
    updates, batch = lab.settings.updates, lab.settings.batch
    batches = torch.empty(updates, batch, dtype=torch.long)
    for task, rows in enumerate(clusters):
        chance = torch_rng(lab.seed, "generator to embedder", "order", task)
        taken = batches[task :: len(clusters)]
        count = taken.numel() // rows.shape[1]
        rounds = [
            torch.randperm(len(rows), generator=chance)
            for _ in range(-(-count // len(rows)))
        ]
        order = torch.cat(rounds)[:count]
        batches[task :: len(clusters)] = rows[order].view(-1, batch)
    return batches


# ------------------------------------------------------------------------------- an arm

NOTHING = Prompt()


@dataclass(frozen=True)
class Arm:
    """How embeddings come about.

    Attributes:
        model: the base model.
        prompt: in tests, and in fine-tuning.
        course: what it is fine-tuned with, if it is.
        rate: of fine-tuning.
        how: the state, or the mean of states, that is the embedding.
    """

    model: str = TALKER
    prompt: Prompt = NOTHING
    course: Callable[[Lab], Course] | None = None
    rate: float = 0.0
    how: Callable[..., Vectors] = embed


def prepare(arm: Arm, lab: Lab) -> tuple[ImageTextGPT, Course | None]:
    """Return an arm's model, fine-tuned if it is, and what with."""
    base = lab.models[arm.model]
    if arm.course is None:
        return base, None
    course = arm.course(lab)
    model = deepcopy(base)
    with seeded(lab.seed, "generator to embedder"):
        fine_tune(model, lab.pool.pairs(arm.prompt), course.batches, arm.rate)
    return model, course
