"""What a scene is, how it is drawn at random, and how it is put into words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import torch_rng

SHAPES = (
    *(
        "circle",
        "square",
        "triangle",
        "star",
        "cross",
        "ring",
        "heart",
        "crescent",
        "hexagon",
        "arrow",
    ),
    *("diamond", "bar"),
)
TEXTURES = ("plain", "striped", "dotted", "checked", "ringed", "shaded")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
BACKGROUNDS = ("plain", "graded", "cloudy", "striped")
STYLES = ("photo", "flat", "sketch", "neon", "noisy", "negative", "faint", "thermal")
SIZES = {"small": 0.0, "medium": 0.16, "large": 0.25}  # each word's least radius
VOCABULARY = {
    "colour": COLOURS,
    "texture": TEXTURES,
    "shape": SHAPES,
    "background": BACKGROUNDS,
    "style": STYLES,
}
OF_OBJECTS = ("colour", "texture", "shape")  # in the order of words: "red striped star"

Choice = str | Sequence[str] | Int[Tensor, "..."] | None


@dataclass(frozen=True)
class Scenes:
    """Scenes as data. An absent object has attributes but is not drawn; words are
    indices into SHAPES, TEXTURES, ...

    Lengths are fractions of the picture's side; x grows to the right and y downwards
    from the upper left corner. `size` is the radius of the circle around the object,
    `rotation` is clockwise in radians, `depth` 0 is nearest. `seed` decides whatever
    has no attribute of its own: the ground's tints, a texture's phase, the noise.
    """

    shape: Int[Tensor, "n objects"]
    texture: Int[Tensor, "n objects"]
    colour: Int[Tensor, "n objects"]
    size: Float[Tensor, "n objects"]
    position: Float[Tensor, "n objects 2"]
    rotation: Float[Tensor, "n objects"]
    depth: Int[Tensor, "n objects"]
    present: Bool[Tensor, "n objects"]
    background: Int[Tensor, " n"]
    style: Int[Tensor, " n"]
    seed: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: slice | Tensor) -> "Scenes":
        """Take scenes by a slice, a mask, or a tensor of indices."""
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: str | torch.device) -> "Scenes":
        """Copy every attribute to `device`."""
        return type(self)(
            *(getattr(self, field.name).to(device) for field in fields(self))
        )


@dataclass(frozen=True)
class Classes:
    """Classes of objects: class i has `values[i]` as its `factors`, and everything else
    about it is nuisance.
    """

    factors: tuple[str, ...]
    values: Int[Tensor, "classes factors"]

    @classmethod
    def product(cls, **words: Sequence[str]) -> "Classes":
        """Make a class of every combination: `Classes.product(shape=SHAPES[:5],
        texture=("plain", "striped"))`.

        Raises:
            ValueError: a factor other than shape, texture and colour, or a word that it
                does not have.
        """
        if wrong := [factor for factor in words if factor not in OF_OBJECTS]:
            raise ValueError(
                f"no class of objects by {wrong[0]!r}; choose from"
                f" {', '.join(OF_OBJECTS)}"
            )
        rows = product(
            *(_indices(factor, choice).tolist() for factor, choice in words.items())
        )
        return cls(tuple(words), torch.tensor(list(rows)))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice | Tensor) -> "Classes":
        """Take some of the classes, as a task of a stream does."""
        return type(self)(self.factors, self.values[index])

    @property
    def names(self) -> list[str]:
        """Each class in words: "striped star"."""
        order = sorted(
            range(len(self.factors)), key=lambda i: OF_OBJECTS.index(self.factors[i])
        )
        return [
            " ".join(VOCABULARY[self.factors[i]][row[i]] for i in order)
            for row in self.values.tolist()
        ]

    def of(self, scenes: Scenes) -> Int[Tensor, "n objects"]:
        """Return the class of every object, -1 for an absent one and for one that
        belongs to none.
        """
        factors = torch.stack([getattr(scenes, factor) for factor in self.factors], -1)
        same = (factors[:, :, None] == self.values.to(factors.device)).all(
            -1
        ) & scenes.present[:, :, None]
        return torch.where(same.any(-1), same.int().argmax(-1), -1)

    def in_scene(self, scenes: Scenes) -> Bool[Tensor, "n classes"]:
        """Return which classes a scene shows, occluded or not: the answers of
        multi-label classification.
        """
        return (
            self.of(scenes)[:, :, None]
            == torch.arange(len(self), device=scenes.shape.device)
        ).any(1)


def sample(
    n: int,
    seed: int,
    *,
    objects: int | tuple[int, int] = 1,
    classes: Classes | None = None,
    labels: Int[Tensor, " n"] | Int[Tensor, "n objects"] | None = None,
    shape: Choice = None,
    texture: Choice = None,
    colour: Choice = None,
    background: Choice = None,
    style: Choice = "photo",
    size: tuple[float, float] = (0.22, 0.38),
    rotation: tuple[float, float] = (-math.pi, math.pi),
    placements: int = 1,
    stream: Sequence[str | int] = (),
) -> Scenes:
    """Draw scenes at random; scene i is the same however many follow it.

    Args:
        n: how many scenes.
        seed: with `stream`, decides everything; give "train" and "test" streams of
            their own.
        objects: how many a scene, or the fewest and the most.
        classes: draw each object's factors together from these classes, all equally
            likely.
        labels: the class of each scene's objects, or of every object, instead of
            chance.
        shape, texture, colour, background, style: one word, several that are equally
            likely, None for all of them, or the indices themselves, one a scene or one
            an object. Words of `classes` win.
        size: least and greatest radius, as a fraction of the picture's side.
        rotation: least and greatest angle in radians, clockwise.
        placements: how many placements of the whole scene to draw; the one with the
            widest gap between objects is kept. 1 lets objects hide one another, 16
            hardly ever.
        stream: names added to the seed's stream of chance.

    Raises:
        ValueError: a word or index that is not in the vocabulary, labels without
            classes, or an empty range.
    """
    fewest, most = (objects, objects) if isinstance(objects, int) else objects
    if not 1 <= fewest <= most:
        raise ValueError(
            f"objects are {objects}; give a number from 1 up, or (fewest, most)"
        )
    if labels is not None and classes is None:
        raise ValueError(
            "labels need the classes that they count; give classes=Classes.product(...)"
        )

    def uniform(name: str, *shape: int) -> Float[Tensor, "n ..."]:
        return torch.rand(
            n,
            *shape,
            generator=torch_rng(seed, "shapes", *stream, name),
            dtype=torch.float64,
        )

    chosen = {}
    for factor, choice in {
        "shape": shape,
        "texture": texture,
        "colour": colour,
    }.items():
        chosen[factor] = _choose(factor, choice, uniform(factor, most))
    for factor, choice in {"background": background, "style": style}.items():
        chosen[factor] = _choose(factor, choice, uniform(factor))
    if classes is not None:
        rows = classes.values[
            _pick("label", len(classes), labels, uniform("class", most))
        ]
        chosen |= dict(zip(classes.factors, rows.unbind(-1), strict=True))

    radius = _between(uniform("size", most), size)
    present = (
        torch.arange(most)
        < fewest + (uniform("objects", 1) * (most - fewest + 1)).long()
    )
    margin = min(
        0.85 * size[1], 0.5
    )  # an object may lose a little of itself over the edge; where it is stays free
    places = _between(uniform("position", placements, most, 2), (margin, 1 - margin))
    return Scenes(
        **chosen,
        size=radius,
        position=_widest(places, radius, present),
        rotation=_between(uniform("rotation", most), rotation),
        depth=uniform("depth", most).argsort(-1),
        present=present,
        seed=(uniform("seed") * 2**32).long(),
    )


def describe(scenes: Scenes) -> list[dict]:
    """Put each scene's attributes into words, for captions and questions: a background,
    a style, and the present objects in order, each with its size, colour, texture and
    shape.
    """
    least = torch.tensor(list(SIZES.values()), device=scenes.size.device)
    words = VOCABULARY | {"size": tuple(SIZES)}
    rows = {factor: getattr(scenes, factor).tolist() for factor in VOCABULARY}
    rows["size"] = (torch.bucketize(scenes.size, least, right=True) - 1).tolist()
    described = []
    for i, present in enumerate(scenes.present.tolist()):
        there = [j for j, drawn in enumerate(present) if drawn]
        whole = {
            factor: words[factor][rows[factor][i]] for factor in ("background", "style")
        }
        parts = [
            {
                factor: words[factor][rows[factor][i][j]]
                for factor in ("size", *OF_OBJECTS)
            }
            for j in there
        ]
        described.append({**whole, "objects": parts})
    return described


def caption(
    scenes: Scenes, mention: Sequence[str] = ("size", "colour", "texture", "shape")
) -> list[str]:
    """Say what is in each scene: "a small red striped star and a large blue ring".
    Plain textures go unsaid.

    Args:
        scenes: what to describe; its objects in order.
        mention: what to tell of: size, colour, texture, shape, background, style.
            Without "shape" an object is a "thing"; the fewer attributes are told, the
            more scenes a caption fits.
    """
    captions = []
    for scene in describe(scenes):
        phrases = [_phrase(words, mention) for words in scene["objects"]]
        text = " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))
        text += f" on a {scene['background']} ground" if "background" in mention else ""
        captions.append(
            text + (f" in {scene['style']} style" if "style" in mention else "")
        )
    return captions


def _phrase(words: dict[str, str], mention: Sequence[str]) -> str:
    said = [
        words[factor] for factor in ("size", "colour", "texture") if factor in mention
    ]
    phrase = " ".join(
        [
            *(word for word in said if word != "plain"),
            words["shape"] if "shape" in mention else "thing",
        ]
    )
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _indices(factor: str, choice: str | Sequence[str]) -> Int[Tensor, " words"]:
    words = VOCABULARY.get(factor)
    if words is None:
        raise ValueError(f"no factor {factor!r}; choose from {', '.join(VOCABULARY)}")
    choice = (choice,) if isinstance(choice, str) else choice
    if wrong := [word for word in choice if word not in words]:
        raise ValueError(f"no {factor} {wrong[0]!r}; choose from {', '.join(words)}")
    return torch.tensor([words.index(word) for word in choice])


def _choose(
    factor: str, choice: Choice, uniform: Float[Tensor, "n *objects"]
) -> Int[Tensor, "n *objects"]:
    if isinstance(choice, Tensor):
        return _pick(factor, len(VOCABULARY[factor]), choice, uniform)
    indices = _indices(factor, VOCABULARY[factor] if choice is None else choice)
    return indices[_pick(factor, len(indices), None, uniform)]


def _pick(
    what: str,
    count: int,
    given: Int[Tensor, "..."] | None,
    uniform: Float[Tensor, "n *objects"],
) -> Int[Tensor, "n *objects"]:
    """Return indices below `count`: the given ones, one a scene or one an object, or
    else evenly by chance.
    """
    if given is None:
        return (uniform * count).long()
    if given.shape not in (uniform.shape, uniform.shape[:1]):
        raise ValueError(
            f"{what} has shape {tuple(given.shape)}; give {len(uniform)}, one a scene,"
            " or one an object"
        )
    if len(given) and not 0 <= given.min() <= given.max() < count:
        raise ValueError(
            f"{what} goes from {given.min()} to {given.max()}; it must stay within 0 to"
            f" {count - 1}"
        )
    return (given if given.ndim == uniform.ndim else given[:, None]).expand(
        uniform.shape
    )


def _between(
    uniform: Float[Tensor, "..."], ends: tuple[float, float]
) -> Float[Tensor, "..."]:
    low, high = ends
    if low > high:
        raise ValueError(f"the range ({low}, {high}) is empty; give (least, greatest)")
    return (low + (high - low) * uniform).float()


def _widest(
    places: Float[Tensor, "n placements objects 2"],
    radius: Float[Tensor, "n objects"],
    present: Bool[Tensor, "n objects"],
) -> Float[Tensor, "n objects 2"]:
    """Keep the placement whose two closest objects are farthest apart."""
    gap = torch.cdist(places, places) - (radius[:, :, None] + radius[:, None])[:, None]
    pair = (present[:, :, None] & present[:, None]).triu(1)
    best = gap.masked_fill(~pair[:, None], torch.inf).amin((-1, -2)).argmax(-1)
    return places[torch.arange(len(places)), best]
