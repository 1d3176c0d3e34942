"""What every arm of a seed shares, and where an arm starts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stages import zoo
from stages.models import seeded
from stages.models.clip import AT_ONCE, CLIP
from stages.papers.vision_language.gram.method import (
    Prompt,
    Prompts,
    adapt,
    meta_train,
)
from stages.papers.vision_language.gram.pseudo_tasks import (
    Features,
    Names,
    Pairs,
    Tasks,
    Topic,
    draw_tasks,
    organise,
)
from stages.papers.vision_language.gram.rivals import Raw, pretune
from stages.seeding import rng, torch_rng
from stages.training import pick_device
from stages.worlds import album, captions
from stages.worlds.shapes import SHAPES, Classes

Path = Float[Tensor, "moments tasks vectors width"]

KNOWN = ("photo", "flat", "faint", "negative")  # styles of the unlabelled pairs
SOURCE = "noisy"
TARGETS = ("sketch", "neon", "thermal")
HAND = "see a picture of"  # four words, as many as there are vectors
SCALE = 0.05  # of random vectors
WAYS = 6  # classes of a task
TOGETHER, SUPPORT = 4, 4  # pseudo-tasks of a meta-step, pictures a class and look
TOPICS, LOOKS, LEAST = 24, 4, 8


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        pairs: unlabelled ones.
        meta_steps: of everything that is learnt from them.
        tasks: that are adapted to.
        supply, tests: pictures of a shape and style: those that shots are drawn from,
            and those that are classified.
        shots: pictures a class to adapt to; the first number is that of the claims.
        steps: of adaptation.
        only: arms that are run; all where it is empty.
    """

    pairs: int = 4_800
    meta_steps: int = 300
    tasks: int = 80
    supply: int = 30
    tests: int = 40
    shots: tuple[int, ...] = (4, 1)
    steps: int = 60
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shifted:
    """Few-shot tasks, all of them stacked.

    Attributes:
        names, support, source: of the classes, in the source style.
        targets: pictures of the same classes in other styles.
        new_names, new: other classes, in the source style.
    """

    names: Names
    support: Features
    source: Features
    targets: Float[Tensor, "styles tasks classes n size"]
    new_names: Names
    new: Features


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share."""

    clip: CLIP
    hand: Float[Tensor, "vectors width"]
    pairs: Pairs
    topics: list[Topic]
    tasks: Shifted
    settings: Settings
    seed: int

    def pseudo_tasks(self) -> Callable[[], Tasks]:
        """Return what draws the pseudo-tasks of each meta-step, from the first one."""
        chance = rng(self.seed, "gram", "pseudo-tasks")
        how = (chance, TOGETHER, WAYS, SUPPORT)
        return lambda: draw_tasks(self.pairs, self.topics, *how)

    def batches(self) -> Callable[[], Int[Tensor, " batch"]]:
        """Return what draws as many pairs as a meta-step has pictures."""
        chance = torch_rng(self.seed, "gram", "batches")
        count = len(self.pairs.images)
        size = min(count, 2 * TOGETHER * WAYS * SUPPORT)
        device = self.hand.device
        return lambda: torch.randperm(count, generator=chance)[:size].to(device)


def make_lab(settings: Settings, seed: int) -> Lab:
    """Load the base model, draw a seed's pairs and tasks, encode all pictures once."""
    device = pick_device()
    clip = zoo.load("tiny_clip").to(device).eval().requires_grad_(False)
    words = captions.vocabulary()
    pairs = draw_pairs(clip, settings.pairs, seed)
    spoken = " ".join(captions.OPENINGS).split()
    spoken += ["<pad>", "things", ",", "and", "in", "style"]
    silent = {words.number.get(word, 0) for word in spoken}
    return Lab(
        clip,
        clip.text.embedding(words.encode(HAND).to(device)),
        pairs,
        organise(pairs, silent, seed, TOPICS, LOOKS, LEAST),
        draw_shifted(clip, settings, seed),
        settings,
        seed,
    )


@torch.no_grad()
def draw_pairs(clip: CLIP, count: int, seed: int) -> Pairs:
    """Draw unlabelled pairs, in two styles that the base model has seen often, and two
    that it has seen rarely.
    """
    stream, device = ("gram", "pairs"), clip.log_scale.device
    even = dict.fromkeys(KNOWN, 1.0)
    scenes = album.scenes(count, seed, styles=even, stream=stream)
    texts = captions.captions(scenes, seed, stream=stream).to(device)
    images = encoded(clip, album.render(scenes))
    return Pairs(images, clip.encode_texts(texts), texts)


@torch.no_grad()
def encoded(clip: CLIP, images: Tensor) -> Float[Tensor, "n size"]:
    """Encode pictures, in parts that fit into memory."""
    device = clip.log_scale.device
    parts = [clip.encode_images(part.to(device)) for part in images.split(AT_ONCE)]
    return torch.cat(parts)


def draw_shifted(clip: CLIP, settings: Settings, seed: int) -> Shifted:
    """Draw few-shot tasks: half of the shapes are its classes, the others are new."""
    device = clip.log_scale.device
    chance = torch_rng(seed, "gram", "tasks")

    def orders(count: int, most: int) -> Int[Tensor, "count most"]:
        return torch.rand(count, most, generator=chance).argsort(1)

    classes = orders(settings.tasks, len(SHAPES))
    own, new = classes[:, :WAYS], classes[:, WAYS : 2 * WAYS]
    supply = styled(clip, SOURCE, settings.supply, seed, "support")
    rows = orders(own.numel(), settings.supply)[:, : max(settings.shots)]
    support = supply[own[..., None], rows.view(*own.shape, -1)]
    tests = [styled(clip, s, settings.tests, seed, "test") for s in (SOURCE, *TARGETS)]
    names = captions.prompts(captions.vocabulary(), SHAPES, [""])[0].to(device)
    targets = torch.stack([each[own] for each in tests[1:]])
    return Shifted(
        names[own], support, tests[0][own], targets, names[new], tests[0][new]
    )


def styled(
    clip: CLIP, style: str, count: int, seed: int, stream: str
) -> Float[Tensor, "shapes count size"]:
    """Draw and encode pictures of one large thing, so many of each shape."""
    number = len(SHAPES)
    scenes = album.one_large(
        number * count,
        seed,
        classes=Classes.product(shape=SHAPES),
        labels=torch.arange(number * count) % number,
        style=style,
        stream=("gram", stream),
    )
    features = encoded(clip, album.render(scenes))
    return features.unflatten(0, (count, number)).transpose(0, 1)


# ----------------------------------------------------------------------------- an arm


@dataclass(frozen=True)
class Start:
    """Where adaptation starts: a prompt for each task, and a map of gradients."""

    prompts: Prompts
    regulator: nn.Module


def same(lab: Lab, prompt: Prompt, regulator: nn.Module) -> Start:
    """Let all tasks start from one prompt."""
    return Start(prompt.expand(len(lab.tasks.names), -1, -1), regulator)


def random_words(lab: Lab) -> Start:
    """Start each task from random vectors, without a first stage (CoOp)."""
    chance = torch_rng(lab.seed, "gram", "random words")
    shape = (len(lab.tasks.names), *lab.hand.shape)
    return Start(SCALE * torch.randn(shape, generator=chance).to(lab.hand), Raw())


def hand_words(lab: Lab) -> Start:
    """Start from the words of HAND, without a first stage (CoOp)."""
    return same(lab, lab.hand, Raw())


@dataclass(frozen=True)
class Contrastive:
    """A first stage without meta-learning: CLIP's own loss, on the same pairs."""

    rate: float

    def __call__(self, lab: Lab) -> Start:
        """Train the prompt."""
        steps = lab.settings.meta_steps
        how = (lab.pairs, lab.batches(), steps, self.rate)
        return same(lab, pretune(lab.clip, lab.hand, *how), Raw())


@dataclass(frozen=True)
class MetaLearnt:
    """A meta-learned start.

    Attributes:
        make: makes the map of gradients that is learnt beside the prompt.
        inner: alpha.
        rates: of the outer Adam, for the prompt and for the map.
    """

    make: Callable[[], nn.Module]
    inner: float
    rates: tuple[float, float]

    def __call__(self, lab: Lab) -> Start:
        """Train the prompt and the map."""
        with seeded(lab.seed, "gram"):
            regulator = self.make().to(lab.hand.device)
        how = (lab.pseudo_tasks(), lab.settings.meta_steps, self.rates, self.inner)
        return same(lab, meta_train(lab.clip, lab.hand, regulator, *how), regulator)


First = Callable[[Lab], Start]


@dataclass(frozen=True)
class Arm:
    """How a prompt is tuned to a task.

    Attributes:
        first: where it starts.
        rate: the length of a step.
        raw: whether the raw gradient is followed, even if there is a map.
    """

    first: First
    rate: float
    raw: bool = False


def tune(arm: Arm, start: Start, lab: Lab, shots: int) -> Path:
    """Tune the prompts of all tasks on so many pictures a class."""
    regulator = Raw() if arm.raw else start.regulator
    few = lab.tasks.support[:, :, :shots]
    how = (lab.tasks.names, few, arm.rate, lab.settings.steps)
    return adapt(lab.clip, start.prompts, regulator, *how)
