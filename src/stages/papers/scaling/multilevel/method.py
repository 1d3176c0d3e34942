"""Multilevel training: a small network learns on the large one's behalf.

Zou, Zhang & Deng, "A Multi-Level Framework for Accelerating Training Transformer
Models", ICLR 2024, arXiv 2404.07999. Train the large network briefly, *coalesce* it
into one of half the width and half the depth, train that cheaply, *de-coalesce* it to
full size, *interpolate* with the large network as it was before, and train on.

The paper writes the maps for a layer without a bias. How they act on heads, norms and
embeddings was taken from the description of its code; neurons and layers are paired as
in its GPT-2 example, the first of one half with the first of the other. One thing
differs: the final norm is halved and doubled, not the embeddings. With norms that come
before the layers, as here, this keeps the network's function, and the other does not.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor

from stages.models import GPT

Parameters = dict[str, Tensor]
Map = Callable[[int], Float[Tensor, "to from"]]
Train = Callable[[GPT, int], None]

# --------------------------------------------------------------------- the width's maps


def coalescing(size: int) -> Float[Tensor, "half size"]:
    """Return F, which averages neuron i and neuron i + size / 2 (eq. 1)."""
    return torch.eye(size // 2).repeat(1, 2) / 2  # eq. 1: F = ½ [I I]


def decoalescing(size: int) -> Float[Tensor, "double size"]:
    """Return T, which copies every neuron (eq. 2)."""
    return normalise_rows(coalescing(2 * size).T)  # eq. 2: [I; I]


def normalise_rows(matrix: Float[Tensor, "to from"]) -> Float[Tensor, "to from"]:
    """Divide each row by its sum."""
    return matrix / matrix.sum(1, keepdim=True)


def resize_layer(
    weight: Float[Tensor, "outputs inputs"], width_map: Map
) -> Float[Tensor, "new_outputs new_inputs"]:
    """Map a layer's outputs, and its inputs so that it reads them as before (eq. 3)."""
    outputs, inputs = weight.shape
    partner = normalise_rows(width_map(inputs).T)
    return width_map(outputs) @ weight @ partner  # eq. 3


def resize_width(parameters: Mapping[str, Tensor], width_map: Map) -> Parameters:
    """Map all parameters of a `GPT` to another width; the size of a head stays.

    Args:
        parameters: as `GPT.state_dict()` gives them.
        width_map: `coalescing` or `decoalescing`.
    """
    resized = {}
    for name, values in parameters.items():
        if name in ("embedding.weight", "positions"):  # a row for each token
            resized[name] = values @ width_map(values.shape[1]).T
        elif ".qkv." in name:  # three layers in one
            parts = values.chunk(3)
            resize = resize_layer if values.dim() == 2 else resize_vector
            resized[name] = torch.cat([resize(part, width_map) for part in parts])
        elif values.dim() == 2:
            resized[name] = resize_layer(values, width_map)
        else:
            resized[name] = resize_vector(values, width_map)
    # The tied head sums over the width, so its scale goes with the number of terms.
    growth = width_map(2).shape[0] / 2
    for name in ("norm.weight", "norm.bias"):
        resized[name] = resized[name] / growth
    return resized


def resize_vector(
    values: Float[Tensor, " size"], width_map: Map
) -> Float[Tensor, " new_size"]:
    """Map biases, or a norm's gains: they belong to outputs alone (eq. 3)."""
    return width_map(len(values)) @ values


# --------------------------------------------------------------------- the depth's maps


def halve_depth(parameters: Mapping[str, Tensor]) -> Parameters:
    """Average block i and block i + depth / 2 (eq. 4)."""
    half = depth_of(parameters) // 2
    halved = {}
    for name, values in parameters.items():
        block, rest = split_name(name)
        if block is None:
            halved[name] = values
        elif block < half:
            twin = parameters[f"blocks.{block + half}.{rest}"]
            halved[name] = (values + twin) / 2  # eq. 4
    return halved


def double_depth(parameters: Mapping[str, Tensor]) -> Parameters:
    """Copy all blocks on top of themselves: 1, 2 become 1, 2, 1, 2 (eq. 4)."""
    depth = depth_of(parameters)
    doubled = dict(parameters)
    for name, values in parameters.items():
        block, rest = split_name(name)
        if block is not None:
            doubled[f"blocks.{block + depth}.{rest}"] = values.clone()
    return doubled


def depth_of(parameters: Mapping[str, Tensor]) -> int:
    """Count the blocks."""
    blocks = [split_name(name)[0] for name in parameters]
    return 1 + max(block for block in blocks if block is not None)


def split_name(name: str) -> tuple[int | None, str]:
    """Split a parameter's name into its block, None if it is in none, and the rest."""
    if not name.startswith("blocks."):
        return None, name
    _, block, rest = name.split(".", 2)
    return int(block), rest


# -------------------------------------------------------------------------- the V-cycle


def coalesce(model: GPT) -> GPT:
    """Return a network of half the width, half the heads and half the depth.

    Raises:
        ValueError: heads or depth of the network are odd.
    """
    sizes = sizes_of(model)
    if sizes["heads"] % 2 or sizes["depth"] % 2:
        raise ValueError(
            f"{sizes['heads']} heads and {sizes['depth']} blocks cannot be paired; give"
            " even numbers"
        )
    parameters = halve_depth(resize_width(model.state_dict(), coalescing))
    return build(parameters, {name: size // 2 for name, size in sizes.items()}, model)


def decoalesce(model: GPT) -> GPT:
    """Return a network of twice the width, heads and depth, its neurons copied."""
    parameters = resize_width(double_depth(model.state_dict()), decoalescing)
    sizes = {name: size * 2 for name, size in sizes_of(model).items()}
    return build(parameters, sizes, model)


def interpolate(before: GPT, grown: GPT, alpha: float) -> GPT:
    """Mix the network saved before coalescing with the grown one (eq. 5)."""
    old = before.state_dict()
    mixed = {
        name: (1 - alpha) * old[name] + alpha * values  # eq. 5
        for name, values in grown.state_dict().items()
    }
    return build(mixed, sizes_of(before), before)


def v_cycle(
    model: GPT,
    train: Train,
    initial: int,
    small: int,
    alpha: float,
    levels: int = 2,
) -> GPT:
    """Go down to the smallest level and up again (Algorithm 1); `model` stays as it is.

    Args:
        model: the large network, not yet trained.
        train: trains a network in place for some updates, with a new optimiser.
        initial: updates of a level on the way down.
        small: updates of each smaller level on the way up.
        alpha: the share of the grown network.
        levels: how many sizes there are.

    Returns:
        The large network, ready to be trained to the end.
    """
    saved = []
    network = deepcopy(model)
    for _ in range(levels - 1):  # the way down
        train(network, initial)
        saved.append(network)
        network = coalesce(network)
    while saved:  # the way up
        train(network, small)
        network = interpolate(saved.pop(), decoalesce(network), alpha)
    return network


def sizes_of(model: GPT) -> dict[str, int]:
    """Return width, depth and heads."""
    return {
        "width": model.positions.shape[1],
        "depth": len(model.blocks),
        "heads": model.blocks[0].attention.heads,
    }


def build(parameters: Parameters, sizes: Mapping[str, int], like: GPT) -> GPT:
    """Make a network of these sizes and parameters; vocabulary and length stay."""
    with torch.random.fork_rng(devices=[]):  # initial values are drawn, then replaced
        model = GPT(len(like.embedding.weight), length=len(like.positions), **sizes)
    model.to(like.positions.device)
    model.load_state_dict(parameters)
    return model
