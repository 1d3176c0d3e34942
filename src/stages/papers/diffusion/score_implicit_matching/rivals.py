"""What score implicit matching is compared with: its relatives' losses, and regression.

The losses take the same `Answers` as SIM's and are trained by the same `distil`.
"""

import torch
from torch import nn

from stages.papers.diffusion.score_implicit_matching.method import (
    Answers,
    Images,
    Levels,
    Recipe,
    Student,
    Watch,
    adam,
    descend,
    inner,
)
from stages.seeding import torch_rng
from stages.tracing import note
from stages.training import diffusion

# ------------------------------------------------------------------------- other losses


def identity_distillation(answers: Answers, alpha: float) -> Levels:
    """Return the loss of score identity distillation, SiD (eq. 9): SIM's with half the
    squared distance, less α - 1 times ‖y‖², over the teacher's mean absolute error.
    """
    gap = answers.gap
    error = (answers.x - answers.teacher).abs().mean(1)
    scale = error.clamp(min=1e-5).detach()
    loss = -inner(gap, answers.residual) - (alpha - 1) * inner(gap, gap)
    return loss / scale  # eq. 9


def diff_instruct(answers: Answers) -> Levels:
    """Return Diff-Instruct's loss, ⟨sg[y], x⟩ (eq. 10): the gradient of a KL divergence
    of noisy images, so both denoisers are held fixed.
    """
    return inner(answers.gap.detach(), answers.x)  # eq. 10


def naive(answers: Answers) -> Levels:
    """Return ‖y‖² (eq. 11), differentiated as if f_ψ did not depend on the student."""
    return inner(answers.gap, answers.gap)  # eq. 11


# ------------------------------------------------- the control: regression on its pairs


def teacher_calls(recipe: Recipe) -> int:
    """Count the teacher's network calls in a distillation, an image at a time: one
    forward, and one for the way back through its input.
    """
    return 2 * recipe.iterations * recipe.batch


def pairs(
    teacher: nn.Module, levels: int, recipe: Recipe, seed: int
) -> tuple[Images, Images]:
    """Spend as many teacher calls as a distillation on noise and the images that Heun's
    method makes of it, at 2 `levels` - 1 calls each.
    """
    count = teacher_calls(recipe) // (2 * levels - 1)
    z = torch.randn(count, recipe.pixels, generator=torch_rng(seed, "pairs"))
    sigmas = diffusion.karras_sigmas(levels, recipe.least, recipe.most)
    return z, diffusion.heun(teacher, z, sigmas)


def regress(
    teacher: nn.Module, levels: int, recipe: Recipe, seed: int, watch: Watch
) -> tuple[nn.Module, nn.Module]:
    """Train a student on stored pairs by its squared error (eq. 12); arguments and
    answers are those of `distil`.
    """
    student = Student(teacher, recipe.start)
    student_adam = adam(student, recipe.rate)
    average = diffusion.average(student, recipe.keep)
    z, images = pairs(teacher, levels, recipe, seed)
    chance = torch_rng(seed, "batches of pairs")
    for step in range(1, recipe.iterations + 1):
        rows = torch.randint(len(z), (recipe.batch,), generator=chance)
        error = student(z[rows]) - images[rows]
        value = inner(error, error).mean()  # eq. 12
        descend(student_adam, value)
        average.update_parameters(student)
        watch(step, average.module)
    note("last loss", value.item())
    return student, average.module
