"""One training loop for the whole book: a loss, an optimiser, a schedule, and two
places to step in.
"""

import math
import os
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from stages.tracing import note

Schedule = Callable[[int], float]


def pick_device(name: str | None = None) -> torch.device:
    """Return `name`, else the environment's STAGES_DEVICE, else the first GPU, else the
    CPU.

    Raises:
        ValueError: the device is not there.
    """
    name = (
        name
        or os.environ.get("STAGES_DEVICE")
        or ("cuda" if torch.cuda.is_available() else "cpu")
    )
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"no device {name!r} here; unset STAGES_DEVICE or use 'cpu'"
        ) from error
    return torch.device(name)


def optimiser(
    parameters: Iterable[nn.Parameter],
    name: Literal["adam", "adamw", "sgd"] = "adamw",
    lr: float = 1e-3,
    **options,
) -> torch.optim.Optimizer:
    """Make torch's fused Adam, AdamW or SGD. `options` go to torch. Raises ValueError
    for another name.
    """
    kinds = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
    }
    if name not in kinds:
        raise ValueError(f"no optimiser {name!r}; choose {', '.join(kinds)}")
    return kinds[name](parameters, lr=lr, fused=True, **options)


def constant() -> Schedule:
    """Keep the learning rate."""
    return lambda step: 1.0


def cosine(steps: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """Rise linearly over `warmup` steps, then fall to `floor` along half a cosine at
    step `steps`.

    Raises:
        ValueError: the warm-up is not shorter than the whole.
    """
    if not 0 <= warmup < steps:
        raise ValueError(
            f"the warm-up takes {warmup} of {steps} steps; it must be shorter"
        )

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / (steps - warmup))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def fit(
    loss: Callable[[int], Tensor],
    steps: Iterable[int] | int,
    optimiser: torch.optim.Optimizer,
    *,
    schedule: Schedule | None = None,
    clip: float | None = None,
    after_backward: Callable[[int], None] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> list[float]:
    """Take optimiser steps on `loss(step)`; return the loss of each step.

    Args:
        loss: computes the scalar to minimise at a step; it picks its own batch, so it
            decides what "seeded" means.
        steps: how many, or the steps themselves (wrap them in `stages.progress.bar` to
            watch).
        schedule: factor of the learning rate at a step; constant by default. The rates
            that the optimiser came with are its reference and are put back at the end.
        clip: the largest norm that all gradients together may have; longer ones are
            scaled down to it.
        after_backward: called with gradients in place, before they are clipped: to add
            a penalty's gradient.
        after_step: called after the step: to average weights, to measure.

    Raises:
        FloatingPointError: the loss is not finite; the message names the step.
    """
    losses, rates = [], [group["lr"] for group in optimiser.param_groups]
    for step in range(steps) if isinstance(steps, int) else steps:
        if schedule:
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(step)
        optimiser.zero_grad(set_to_none=True)
        value = loss(step)
        value.backward()
        if after_backward:
            after_backward(step)
        if clip is not None:
            nn.utils.clip_grad_norm_(
                [p for group in optimiser.param_groups for p in group["params"]], clip
            )
        optimiser.step()
        if after_step:
            after_step(step)
        losses.append(value.detach())
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
    values = torch.stack(losses).tolist() if losses else []
    if bad := [i for i, value in enumerate(values) if not math.isfinite(value)]:
        raise FloatingPointError(
            f"the loss is not finite from step {bad[0]} of {len(values)} on"
        )
    if values:
        note("first loss", values[0])
        note("last loss", values[-1])
    return values
