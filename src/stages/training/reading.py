"""Language models that read: they learn to predict the next token of texts."""

from collections.abc import Callable, Iterable

from jaxtyping import Bool, Int
from torch import Tensor, nn

from stages.training.loop import Schedule, fit, optimiser
from stages.training.losses import next_token_loss

DECAY = 0.01  # of the parameters, by AdamW
Texts = tuple[Int[Tensor, "n length"], Bool[Tensor, "n length"] | None]


def read_texts(
    model: nn.Module,
    draw: Callable[[int], Texts],
    steps: Iterable[int] | int,
    rate: float,
    schedule: Schedule,
) -> list[float]:
    """Train a network in place to predict the next token, with AdamW; return the
    losses.

    Args:
        draw: gives the texts of an update, and which of their tokens count; all do
            where that is None.
        steps: how many updates, or the updates themselves.
        rate, schedule: of AdamW, and the factor of the rate at an update.
    """
    device = next(model.parameters()).device
    adam = optimiser(model.parameters(), "adamw", rate, weight_decay=DECAY)

    def loss(step: int) -> Tensor:
        tokens, counted = draw(step)
        tokens = tokens.to(device)
        counted = None if counted is None else counted.to(device)
        return next_token_loss(model(tokens), tokens, counted)

    return fit(loss, steps, adam, schedule=schedule, clip=1.0)
