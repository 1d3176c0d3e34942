import math

import pytest
import torch
from einops import rearrange
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from stages.models import ViT, masked_logits, seeded

SIZES = {"image_size": 8, "patch": 4, "channels": 2, "width": 12, "depth": 3, "heads": 3, "classes": 5}
BLOCKS = range(SIZES["depth"])


@pytest.fixture
def model():
    with seeded(0):
        return ViT(**SIZES).double()


@pytest.fixture
def images():
    return torch.rand(4, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def prefix(length, batch=4, seed=0):
    """Keys and values."""
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, batch, length, SIZES["width"], dtype=torch.float64, generator=generator)
    return keys, values


def by_hand(attention, x, keys, values):
    """Eq. 1 of Vaswani et al. with the prefix in front of the projected keys and values, one image and head a time."""
    q, k, v = (x @ w.T + b for w, b in zip(attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3), strict=True))
    out, size = torch.zeros_like(q), x.shape[-1] // attention.heads
    for i in range(len(x)):
        for h in range(attention.heads):
            part = slice(h * size, (h + 1) * size)
            all_keys, all_values = torch.cat([keys[i], k[i]])[:, part], torch.cat([values[i], v[i]])[:, part]
            weights = (q[i, :, part] @ all_keys.T / math.sqrt(size)).exp()
            out[i, :, part] = weights / weights.sum(-1, keepdim=True) @ all_values
    return out @ attention.project.weight.T + attention.project.bias


def test_attention_with_a_prefix_is_the_one_written_by_hand(model, images):
    x, attention = model.embed(images), model.blocks[0].attention
    for length in (1, 3):
        expected = by_hand(attention, x, *prefix(length))
        torch.testing.assert_close(attention(x, prefix(length)), expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(attention(x, prefix(length), queries=2), expected[:, :2], atol=1e-12, rtol=0)


def test_the_network_is_its_parts_in_order(model, images):
    x = model.embed(images)
    for i, block in enumerate(model.blocks):
        keys, values = prefix(2, seed=i)
        x = x + by_hand(block.attention, block.norm1(x), keys, values)
        x = x + block.mlp(block.norm2(x))
    expected = model.head(F.layer_norm(x[:, 0], (12,), model.norm.weight, model.norm.bias))
    torch.testing.assert_close(model(images, {i: prefix(2, seed=i) for i in BLOCKS}), expected, atol=1e-12, rtol=0)


def test_a_prefix_of_no_length_is_none(model, images):
    torch.testing.assert_close(model(images, {i: prefix(0) for i in BLOCKS}), model(images), atol=1e-12, rtol=0)
    assert torch.equal(model(images, {}), model(images))


@pytest.mark.parametrize("block", BLOCKS)
def test_a_prefix_acts_on_its_own_image_alone(model, images, block):
    plain, (keys, values) = model(images, {block: prefix(3)}), prefix(3)
    keys[2], values[2] = 2 * keys[2], -values[2]
    changed = model(images, {block: (keys, values)})
    assert torch.equal(changed[[0, 1, 3]], plain[[0, 1, 3]])
    assert not torch.isclose(changed[2], plain[2]).any()


def test_the_order_of_a_prefix_does_not_matter(model, images):
    keys, values = prefix(5)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = model(images, {1: (keys[:, order], values[:, order])})
    torch.testing.assert_close(shuffled, model(images, {1: (keys, values)}), atol=1e-12, rtol=0)


def test_patches_are_a_set_once_positions_go_with_them(model, images):
    order = torch.tensor([2, 0, 3, 1])
    patches = torch.stack([p for row in images.split(4, 2) for p in row.split(4, 3)])  # row by row
    before, tokens = model(images), model.tokens(images)
    rows = [torch.cat([*patches[order[2 * i : 2 * i + 2]]], 3) for i in range(2)]
    shuffled = torch.cat(rows, 2)
    assert not torch.isclose(model(shuffled), before).any()
    with torch.no_grad():
        model.positions[1:] = model.positions[1:][order]
    torch.testing.assert_close(model(shuffled), before, atol=1e-12, rtol=0)
    moved = tokens[:, :, torch.cat([torch.zeros(1, dtype=torch.long), 1 + order])]
    torch.testing.assert_close(model.tokens(shuffled), moved, atol=1e-12, rtol=0)


def test_going_on_from_kept_tokens_is_going_all_the_way(model, images):
    prefixes = {1: prefix(2), 2: prefix(3, seed=1)}
    tokens = model.tokens(images, prefixes)
    assert tokens.shape == (4, 4, 5, 12)
    for start in (*BLOCKS, 3):
        rest = {i: p for i, p in prefixes.items() if i >= start}
        for whole, resumed in ((model.forward, model.forward_from), (model.features, model.features_from)):
            found = resumed(tokens[start], start, rest)
            torch.testing.assert_close(found, whole(images, prefixes), atol=1e-12, rtol=0)
    torch.testing.assert_close(model.norm(tokens[-1, :, 0]), model.features(images, prefixes), atol=1e-12, rtol=0)


@pytest.mark.parametrize("given", [3, -1])
def test_a_prefix_for_no_block_is_refused(model, images, given):
    with pytest.raises(ValueError, match=f"a prefix for block {given}; there are blocks 0 to 2 to go through"):
        model(images, {given: prefix(1)})
    with pytest.raises(ValueError, match="a prefix for block 0; there are blocks 1 to 2"):
        model.forward_from(model.embed(images), 1, {0: prefix(1)})


def test_in_a_frozen_network_gradients_reach_the_prefixes_alone(model, images):
    model.requires_grad_(False)
    used, idle = prefix(3), prefix(3, seed=1)
    for tensor in (*used, *idle):
        tensor.requires_grad_()
    model(images, {0: used})[0].sum().backward()  # the first image's logits
    for tensor in used:
        assert tensor.grad[0].abs().min() > 0
        assert not tensor.grad[1:].any()
    assert all(tensor.grad is None for tensor in (*idle, *model.parameters()))


def test_gradients_through_a_prefix_are_right(model, images):
    def logits(keys, values):
        return model(images, {0: (keys, values), 2: (values, keys)})

    assert torch.autograd.gradcheck(logits, tuple(t.requires_grad_() for t in prefix(2)), fast_mode=True)


@pytest.mark.parametrize("allowed", [[0, 1, 1, 0, 0], [[1, 1, 0, 0, 0]] * 2 + [[0, 0, 0, 1, 1]] * 2])
def test_masked_logits_hide_classes_from_loss_and_gradient(model, images, allowed):
    mask = torch.tensor(allowed).bool()
    labels = mask.expand(4, 5).int().argmax(1)
    logits = model(images)
    loss = F.cross_entropy(masked_logits(logits, mask), labels)
    kept = [row[one] for row, one in zip(logits, mask.expand(4, 5), strict=True)]
    torch.testing.assert_close(loss, torch.stack([row.logsumexp(0) - row[0] for row in kept]).mean())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[~mask.expand(4, 5)].any()
    assert gradient[mask.expand(4, 5)].all()
    torch.testing.assert_close(masked_logits(logits, mask).softmax(1).sum(1), torch.ones(4, dtype=torch.float64))


def test_parameters_count_as_they_should():
    def count(image_size=32, patch=8, channels=3, width=64, depth=4, ratio=4, classes=10):
        block = 4 * width + 4 * width * (width + 1) + 2 * ratio * width**2 + (ratio + 1) * width
        ends = (channels * patch**2 + 1) * width + width + (1 + (image_size // patch) ** 2) * width
        return depth * block + ends + 2 * width + (width + 1) * classes

    for sizes in ({}, {"patch": 4, "classes": 7}, {"image_size": 16, "channels": 1, "width": 32, "ratio": 2}):
        assert sum(p.numel() for p in ViT(**sizes).parameters()) == count(**sizes)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="patch 5 must divide image_size 32"):
        ViT(patch=5)
    with pytest.raises(ValueError, match="heads 3 the width 64"):
        ViT(heads=3)
    with pytest.raises(ValueError, match="no stem 'conv'; choose linear or convolution"):
        ViT(stem="conv")
    for patch in (1, 6):
        with pytest.raises(ValueError, match=f"patch {patch}: a convolution stem halves the side"):
            ViT(image_size=24, patch=patch, stem="convolution")


@pytest.mark.parametrize("stem", ["linear", "convolution"])
@pytest.mark.parametrize("patch", [2, 4, 8])
def test_a_token_looks_at_its_patch_most(patch, stem):
    with seeded(0):
        model = ViT(patch=patch, stem=stem, depth=1).double()
    images = torch.rand(1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    tokens, matrix = model.embed(images)[0, 1:], []
    for token in tokens:
        (gradient,) = torch.autograd.grad(token.square().sum(), images, retain_graph=True)
        by_patch = rearrange(gradient.abs(), "1 c (h p) (w q) -> (h w) (c p q)", p=patch, q=patch).sum(1)
        matrix.append(by_patch / by_patch.sum())
    matrix = torch.stack(matrix)
    assert (matrix.argmax(1) == torch.arange(len(tokens))).float().mean() > 0.9
    if stem == "linear":
        torch.testing.assert_close(matrix, torch.eye(len(tokens)).double())


def test_a_seed_decides_the_weights_and_leaves_torchs_own_stream(model):
    state = torch.random.get_rng_state()
    with seeded(0):
        same = ViT(**SIZES).double()
    with seeded(1):
        other = ViT(**SIZES).double()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert not torch.equal(model.head.weight, other.head.weight)


def test_networks_of_several_seeds_run_stacked(model, images):
    models = [model, ViT(**SIZES).double()]
    weights, buffers = stack_module_state(models)
    keys = torch.stack([torch.stack(prefix(2, seed=i)) for i in range(2)])  # (model, keys or values, ...)

    def call(weights, buffers, x, prefix):
        return functional_call(model, (weights, buffers), (x, {1: (prefix[0], prefix[1])}))

    with sdpa_kernel(SDPBackend.MATH):
        stacked = vmap(call)(weights, buffers, images.expand(2, *images.shape), keys)
    for logits, one, (k, v) in zip(stacked, models, keys, strict=True):
        torch.testing.assert_close(logits, one(images, {1: (k, v)}), atol=1e-12, rtol=0)
