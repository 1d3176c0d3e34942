"""LoRA (Hu et al. 2022): chosen linear layers learn a low-rank change of their weight,
and nothing else of a network learns.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """W becomes W + (alpha / rank) B A; B is 0 at first, so nothing changes.

    Args:
        weight: W, whose shape, type and device count.
        rank: of the change.
        alpha: how strong it is; alpha / rank is a factor of B A.
    """

    def __init__(self, weight: Float[Tensor, "out in"], rank: int, alpha: float):
        super().__init__()
        outputs, inputs = weight.shape
        self.factor = alpha / rank
        self.down = nn.Parameter(
            torch.randn(rank, inputs).to(weight) / inputs**0.5
        )  # A
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))  # B

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """Return the changed weight."""
        return weight + self.factor * self.up @ self.down


def add_lora(
    model: nn.Module, *layers: str, rank: int = 4, alpha: float | None = None
) -> list[nn.Parameter]:
    """Give linear layers a low-rank change, freeze all else, in place; return what is
    left to train. Draw within `stages.models.seeded` for a start that can be repeated.

    Args:
        layers: ends of the names of the layers, as in "attention.qkv" or "mlp.0"; all
            linear layers if none is given.
        rank, alpha: see `LowRank`; alpha is the rank by default.

    Raises:
        ValueError: no linear layer has such a name.
    """
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    chosen = {}
    for end in layers:
        found = {name for name in linear if f".{name}".endswith(f".{end}")}
        if not found:
            raise ValueError(
                f"no linear layer's name ends in {end!r}; there are {', '.join(linear)}"
            )
        chosen |= {name: linear[name] for name in sorted(found)}
    model.requires_grad_(False)
    trained = []
    for module in (chosen or linear).values():
        change = LowRank(module.weight, rank, alpha or rank)
        parametrize.register_parametrization(module, "weight", change)
        trained += [change.down, change.up]
    return trained


def merge_lora(model: nn.Module) -> None:
    """Write the changes into the weights, in place, and drop the parts."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
