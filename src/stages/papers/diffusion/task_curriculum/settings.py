"""What a profile fixes."""

from dataclasses import dataclass

from stages.papers.diffusion.task_curriculum import method, training
from stages.papers.diffusion.task_curriculum.method import Interval
from stages.papers.diffusion.task_curriculum.training import Recipe


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        recipe: how every arm is trained.
        patience: of the curricula, in updates.
        smoothing: the share of itself that the watched loss keeps at each update.
        clusters: of timesteps.
        points: checkpoints, in equal strides; a multiple of ten.
        count: samples that are judged at a checkpoint.
        shown: samples that are kept for figures.
        alone: updates of a model for one cluster; it is tested at every `stride`.
        without: arms that are left out.
    """

    recipe: Recipe
    patience: int
    smoothing: float = 0.95
    clusters: int = 6
    points: int = 20
    count: int = 1000
    shown: int = 6
    alone: int = 400
    stride: int = 20
    without: tuple[str, ...] = ()

    def update(self, percent: float) -> int:
        """Return the update at which so much of the training is over."""
        return round(self.recipe.updates * percent / 100)

    @property
    def checkpoints(self) -> list[int]:
        """The updates after which samples are drawn."""
        return [self.update(100 * i / self.points) for i in range(1, self.points + 1)]

    @property
    def parts(self) -> list[Interval]:
        """The clusters, from the least noise to the most."""
        return method.clusters(training.STEPS, self.clusters)
