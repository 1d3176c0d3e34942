"""Score implicit matching (SIM): a diffusion model distilled into one step, no data.

Luo, Huang, Geng, Kolter & Qi, "One-Step Diffusion Distillation through Score Implicit
Matching", NeurIPS 2024, arXiv 2410.16794. A student draws an image from noise in one
call. It is trained until its noisy images have the score that the teacher says noisy
data have. The student's own score is not known; an online denoiser learns it from the
student's images. A loss with the same gradient as the distance of both scores needs no
more than these two denoisers.

Scores are spoken of by denoisers, s(x, σ) = (f(x, σ) - x) / σ² (eq. 1), so distances
here are σ⁴ (squared) or σ² (norms) times those of the scores. Equations are numbered as
on the page.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages.seeding import torch_rng
from stages.tracing import note
from stages.training import diffusion, optimiser

Images = Float[Tensor, "batch pixels"]
Levels = Float[Tensor, " batch"]
Denoiser = Callable[[Images, Levels], Images]

# -------------------------------------------------------- what a generator's loss sees


@dataclass(frozen=True)
class Answers:
    """The student's images, and what they are denoised to once noise is added.

    Attributes:
        x: the student's images, x = g(z).
        teacher, fake: f_φ and f_ψ of x + σ noise, of the frozen teacher and of the
            online denoiser.
    """

    x: Images
    teacher: Images
    fake: Images

    @property
    def gap(self) -> Images:
        """The difference of both scores, times σ²: y = f_ψ - f_φ."""
        return self.fake - self.teacher

    @property
    def residual(self) -> Images:
        """What the online denoiser misses: r = f_ψ - x."""
        return self.fake - self.x


def ask(
    x: Images, sigma: Levels, noise: Images, teacher: Denoiser, fake: Denoiser
) -> Answers:
    """Add noise and let both denoisers answer; gradients flow through their inputs."""
    noisy = x + diffusion.column(sigma, x) * noise
    return Answers(x, teacher(noisy, sigma), fake(noisy, sigma))


def inner(a: Images, b: Images) -> Levels:
    """Return one inner product an example, over all of its pixels."""
    return (a * b).sum(1)


# ------------------------------------------------------------------ the paper's losses


def squared(y: Images) -> Images:
    """Return d'(y) of the squared distance d(y) = ‖y‖²."""
    return 2 * y


def pseudo_huber(y: Images, c: float) -> Images:
    """Return d'(y) of the Pseudo-Huber distance d(y) = √(‖y‖² + c²) - c.

    There is one norm an example, over all of its pixels.
    """
    return y / (inner(y, y) + c**2).sqrt()[:, None]  # eq. 5


def implicit(answers: Answers, slope: Callable[[Images], Images]) -> Levels:
    """Return SIM's loss of each example, -⟨d'(y), f_ψ - x⟩ (eq. 4).

    Its gradient is that of E d(y), the student's noisy images held where they are; its
    value says nothing. Nothing is detached: not y, not its norm, not the residual.

    Args:
        slope: d', the distance's derivative.
    """
    return -inner(slope(answers.gap), answers.residual)  # eq. 4


# ---------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Recipe:
    """How a student is trained.

    Attributes:
        rate: Adam's, of the student and of the online denoiser.
        iterations, batch: each iteration is one step of both.
        pixels: of an image, and of the noise it is made of.
        start: σ_init, the noise level at which the teacher's copy becomes the student.
        mean, deviation: of ln σ in the online denoiser's loss.
        least, most, reach: the student's loss takes the first share `reach` of Karras's
            schedule from `most` down to `least`, upside down: σ from `least` to 7.8.
        keep: the moving average's keep rate.
    """

    rate: float
    iterations: int = 1_500
    batch: int = 64
    pixels: int = 64
    start: float = 3.0
    mean: float = -0.6
    deviation: float = 1.2
    least: float = 0.02
    most: float = 20.0
    reach: float = 0.8
    keep: float = 0.995


class Student(nn.Module):
    """A generator of one call, x = f(σ_init z; σ_init) (eq. 6); at first f is a copy of
    the teacher.
    """

    def __init__(self, teacher: nn.Module, start: float):
        super().__init__()
        self.denoiser = copy.deepcopy(teacher).requires_grad_(True)
        self.start = start

    def forward(self, z: Images) -> Images:
        """Make images of standard normal noise."""
        sigma = torch.full((1,), self.start, device=z.device)  # one for all images
        return self.denoiser(self.start * z, sigma)  # eq. 6


def generator_levels(share: Levels, recipe: Recipe) -> Levels:
    """Return noise levels between `least` (share 0) and those at `reach` (share 1), by
    Karras's schedule (eq. 8).
    """
    low = recipe.least ** (1 / 7)
    high = recipe.most ** (1 / 7)
    return (low + recipe.reach * share * (high - low)) ** 7  # eq. 8


def adam(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return Adam without momentum, as all codes of this family have it."""
    return optimiser(module.parameters(), "adam", rate, betas=(0.0, 0.999))


Watch = Callable[[int, nn.Module], None]


class Chance:
    """The random numbers of a training; those of a seed are the same for every loss."""

    def __init__(self, recipe: Recipe, seed: int, name: str):
        self.shape = recipe.batch, recipe.pixels
        self.stream = torch_rng(seed, name)

    def normal(self) -> Images:
        """Draw noise in the form of a batch of images."""
        return torch.randn(self.shape, generator=self.stream)

    def normals(self) -> Levels:
        """Draw a standard normal number an example."""
        return torch.randn(self.shape[0], generator=self.stream)

    def shares(self) -> Levels:
        """Draw a number between 0 and 1 an example."""
        return torch.rand(self.shape[0], generator=self.stream)


def online_loss(
    fake: Denoiser, student: Student, recipe: Recipe, chance: Chance, data: float
) -> Tensor:
    """Return EDM's loss of the online denoiser on the student's images (eq. 7)."""
    with torch.no_grad():
        x = student(chance.normal())
    sigma = (recipe.mean + recipe.deviation * chance.normals()).exp()
    return diffusion.edm_loss(fake, x, sigma, chance.normal(), data).mean()  # eq. 7


def generator_loss(
    loss: Callable[[Answers], Levels],
    student: Student,
    teacher: Denoiser,
    fake: Denoiser,
    recipe: Recipe,
    chance: Chance,
) -> Tensor:
    """Return the generator's loss on a fresh batch."""
    x = student(chance.normal())
    sigma = generator_levels(chance.shares(), recipe)
    return loss(ask(x, sigma, chance.normal(), teacher, fake)).mean()


def distil(
    teacher: nn.Module,
    loss: Callable[[Answers], Levels],
    recipe: Recipe,
    seed: int,
    watch: Watch,
) -> tuple[nn.Module, nn.Module]:
    """Train a student against a frozen teacher; no image of the data is used.

    Args:
        teacher: an EDM denoiser, with its data's deviation in `teacher.data`.
        loss: of the generator, one an example.
        watch: called after each iteration with its number, from 1, and the student's
            moving average.

    Returns:
        The student after its last step, and its moving average.
    """
    student = Student(teacher, recipe.start)
    fake = copy.deepcopy(teacher)
    student_adam = adam(student, recipe.rate)
    fake_adam = adam(fake, recipe.rate)
    average = diffusion.average(student, recipe.keep)
    chance = Chance(recipe, seed, "distillation")
    for step in range(1, recipe.iterations + 1):
        fake.requires_grad_(True)
        error = online_loss(fake, student, recipe, chance, teacher.data)
        descend(fake_adam, error)
        fake.requires_grad_(False)  # its input still carries gradients
        value = generator_loss(loss, student, teacher, fake, recipe, chance)
        descend(student_adam, value)
        average.update_parameters(student)
        watch(step, average.module)
    note("last online loss", error.item())
    note("last loss", value.item())
    return student, average.module


def descend(adam: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step."""
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()
