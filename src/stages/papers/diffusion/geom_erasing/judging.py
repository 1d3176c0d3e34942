"""What all arms of a seed are asked to draw, and how their pictures are judged."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages import zoo
from stages.evidence import Outcome, in_setting
from stages.papers.diffusion.geom_erasing import method, overlays
from stages.papers.diffusion.geom_erasing.method import How
from stages.seeding import torch_rng
from stages.training.quality import frechet_distance
from stages.worlds.shapes import quads
from stages.worlds.shapes.quads import Captions, Pictures, Quads
from stages.zoo.quads import score as question_score

ICR, QUESTIONS, RIGHT = "concept rate", "question score", "all right"
DISTANCE, RECALL, FALSE = "Fréchet distance", "recall", "false positives"
CALLED = "drawn where called for"
JUDGE = "evaluation detector"


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn for the judges: how many, network calls each, guidance,
    how many clean ones they are compared with, and captions to which places of a
    watermark are added.
    """

    samples: int = 100
    steps: int = 10
    scale: float = 1.5
    real: int = 1_000
    called: int = 8


def one_phrase(scenes: Quads) -> Captions:
    """Return the captions of scenes of one thing, a phrase each."""
    return quads.captions(scenes).sum(1, keepdim=True)


@dataclass(frozen=True)
class Test:
    """What all arms of a seed are asked to draw, and what judges it."""

    drawing: Drawing
    scenes: Quads
    noise: Pictures
    real: Pictures
    detector: nn.Module
    reader: nn.Module

    @classmethod
    def of(cls, drawing: Drawing, seed: int) -> "Test":
        """Draw the captions, the noise, and clean pictures to compare with."""
        scenes = quads.sample(drawing.samples, seed, 1, ("test",))
        chance = torch_rng(seed, "samples")
        size = (drawing.samples, 3, quads.SIDE, quads.SIDE)
        return cls(
            drawing,
            scenes,
            torch.randn(size, generator=chance),
            quads.render(quads.sample(drawing.real, seed, 1, ("real",))),
            zoo.load("overlay_detector"),
            zoo.load("quads_reader"),
        )

    def drawn(self, model: nn.Module, how: How) -> Pictures:
        """Let a model draw all captions, guided away from a negative prompt."""
        prompts = one_phrase(self.scenes)
        away = method.negative(len(prompts), how)
        given = (self.noise, self.drawing.scale, self.drawing.steps)
        return method.drawn(model, prompts, away, *given)

    def called_for(self, model: nn.Module) -> Float[Tensor, "places n 3 16 16"]:
        """Let a model draw the first captions with the concept's name and the cells of
        one of its places added, away from the empty prompt; all places in turn.
        """
        n = self.drawing.called
        cells = places().repeat_interleave(n, 0)
        every = len(places())
        prompts = method.written(
            one_phrase(self.scenes[:n]).repeat(every, 1, 1),
            torch.ones(len(cells), dtype=torch.bool),
            cells,
            "cells",
        )
        made = method.drawn(
            model,
            prompts,
            method.negative(len(cells), "nothing"),
            self.noise[:n].repeat(every, 1, 1, 1),
            self.drawing.scale,
            self.drawing.steps,
        )
        return made.unflatten(0, (every, n))


def places() -> method.Flags:
    """Return the cells of each place of a watermark, row by row."""
    top, left = torch.meshgrid(overlays.STEPS, overlays.STEPS, indexing="ij")
    corners = torch.stack([left.flatten(), top.flatten()], 1)
    return method.covered(overlays.boxed(corners))


def score(
    outcome: Outcome, name: str, pictures: Pictures, test: Test, setting: str = ""
) -> None:
    """Judge pictures: how many show a watermark, are as asked, and resemble clean
    ones.
    """
    asked = question_score(pictures, test.scenes)
    features = [test.reader.features(some) for some in (pictures, test.real)]
    found = test.detector.finds(pictures, "watermark")
    values = {
        ICR: 100 * found.float().mean(),
        QUESTIONS: 100 * asked.mean(),
        RIGHT: 100 * (asked == 1).float().mean(),
        DISTANCE: frechet_distance(*features),
    }
    for metric, value in values.items():
        label = in_setting(metric, setting) if setting else metric
        outcome.score(name, label, float(value))


def score_called(
    outcome: Outcome, name: str, called: Float[Tensor, "places n 3 16 16"], test: Test
) -> None:
    """Score how often a watermark is drawn that is called for."""
    found = test.detector.finds(called.flatten(0, 1), "watermark")
    outcome.score(name, CALLED, 100 * float(found.float().mean()))


def score_judge(outcome: Outcome, test: Test, seed: int) -> None:
    """Measure the evaluation detector on clean pictures, without and with overlays."""
    clean = test.detector.finds(test.real, "watermark")
    marked = overlays.contaminated(test.real, "watermark", 1.0, seed)
    found = test.detector.finds(marked.pictures, "watermark")
    outcome.score(JUDGE, FALSE, 100 * float(clean.float().mean()))
    outcome.score(JUDGE, RECALL, 100 * float(found.float().mean()))


# ------------------------------------------------------------------------- for figures


def levels(pictures: Tensor) -> list[int]:
    """Flatten pictures from -1 to 1 into whole numbers from 0 to 255."""
    return (127.5 * (pictures.flatten() + 1)).round().int().tolist()


def restored(values: Tensor | list[float]) -> Float[Tensor, "n 3 16 16"]:
    """Return the pictures, from 0 to 1, that `levels` has flattened."""
    return torch.as_tensor(values).float().view(-1, 3, quads.SIDE, quads.SIDE) / 255


def keep(outcome: Outcome, name: str, pictures: Pictures, metric: str) -> None:
    """Put pictures into the record, as a curve over their pixels."""
    flat = levels(pictures)
    outcome.curve(name, metric, range(len(flat)), flat)
