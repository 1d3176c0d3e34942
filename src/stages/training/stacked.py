"""Many small networks trained at once.

A network of 100 units keeps a processor busy for microseconds; most of a training step
is overhead. Putting the networks of several seeds or conditions in a leading dimension
pays that overhead once. Nothing else changes: the loss is the sum over networks, so
each gets its own gradient, and Adam and SGD act on each weight by itself. A stack
therefore trains exactly as its members would alone.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.seeding import torch_rng


class StackedMLP(nn.Module):
    """Multilayer perceptrons with ReLU, one for each of `seeds`, in one module.

    Members with equal seeds start with equal weights, so that conditions can be
    compared in pairs. The initial weights follow `torch.nn.Linear`: uniform within
    1/sqrt(inputs).

    Args:
        sizes: the widths of all layers, input and output included: (64, 100, 100, 10).
        seeds: one seed a member; repeated seeds are what pairs conditions.
    """

    def __init__(self, sizes: Sequence[int], seeds: Sequence[int]):
        super().__init__()
        self.sizes = tuple(sizes)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        generators = [torch_rng(seed, "weights") for seed in seeds]
        for inputs, outputs in pairwise(sizes):
            draw = torch.stack(
                [torch.rand(inputs + 1, outputs, generator=g) for g in generators]
            )
            layer = (2 * draw - 1) / inputs**0.5
            self.weights.append(
                nn.Parameter(layer[:, :-1].clone())
            )  # (members, inputs, outputs)
            self.biases.append(
                nn.Parameter(layer[:, -1:].clone())
            )  # (members, 1, outputs)

    def __len__(self) -> int:
        return len(self.weights[0])

    def forward(
        self, x: Float[Tensor, "members batch inputs"]
    ) -> Float[Tensor, "members batch outputs"]:
        """Compute every member's logits on its own batch."""
        return self.layers(x)[1][-1]

    def layers(
        self, x: Float[Tensor, "members batch inputs"]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the input of every layer and its output before the ReLU."""
        inputs, outputs = [x], []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            outputs.append(torch.baddbmm(bias, inputs[-1], weight))
            inputs.append(outputs[-1].relu())
        return inputs[:-1], outputs

    def member(self, index: int) -> nn.Sequential:
        """Copy one member into ordinary `torch.nn.Linear` layers."""
        modules: list[nn.Module] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            linear = nn.Linear(*weight.shape[1:]).to(weight)
            with torch.no_grad():
                linear.weight.copy_(weight[index].T)
                linear.bias.copy_(bias[index, 0])
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules[:-1])


def stacked_cross_entropy(
    logits: Float[Tensor, "members batch classes"], labels: Int[Tensor, "members batch"]
) -> Float[Tensor, ""]:
    """Sum over members of the mean cross-entropy on each member's batch."""
    return (
        F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        / labels.shape[1]
    )


@torch.no_grad()
def stacked_accuracy(
    model: StackedMLP,
    images: Float[Tensor, "tasks n inputs"],
    labels: Int[Tensor, " n"],
) -> Float[Tensor, "members tasks"]:
    """Return the accuracy of every member on every task, in per cent; all tasks have
    the same labels.
    """
    tasks, n, _ = images.shape
    logits = model(images.flatten(0, 1).expand(len(model), -1, -1))
    return 100 * (logits.argmax(-1).view(-1, tasks, n) == labels).float().mean(-1)
