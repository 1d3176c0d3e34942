"""CLIP: its towers, the temperature, classifiers made of names, prompts."""

import math
from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F

from stages.models import ViT, seeded
from stages.models.clip import (
    CLIP,
    ConvTower,
    TextTower,
    accuracy_by_class,
    class_vectors,
    classify,
    prompted,
    zero_shot,
)


@pytest.fixture
def model():
    with seeded(0):
        made = CLIP(
            ConvTower(widths=(8, 8, 16), strides=(1, 2, 2), size=12),
            TextTower(9, 16, depth=1, heads=2, length=7, size=12),
        )
    return made.double().eval()


@pytest.fixture
def images():
    return torch.rand(5, 3, 16, 16, dtype=torch.double, generator=torch.Generator().manual_seed(0))


TEXTS = torch.tensor([[3, 1, 4, 0, 0], [1, 5, 0, 0, 0], [2, 6, 5, 3, 8], [7, 0, 0, 0, 0], [8, 8, 3, 0, 0]])


def test_convolutions_written_out(model, images):
    x = images
    for stride, part in zip((1, 2, 2), range(0, 9, 3), strict=True):
        convolution, norm = model.image.layers[part], model.image.layers[part + 1]
        x = F.conv2d(x, convolution.weight, stride=stride, padding=1)
        x = F.group_norm(x, 8, norm.weight, norm.bias).relu()
    assert x.shape == (5, 16, 4, 4)
    torch.testing.assert_close(
        model.image(images), x.flatten(1) @ model.image.project.weight.T + model.image.project.bias
    )
    assert sum(p.numel() for p in ConvTower().parameters()) == 163_296
    with pytest.raises(ValueError, match="their product divides"):
        ConvTower(image_size=12)


def test_a_text_is_read_alike_with_pads_anywhere_and_in_any_company(model):
    found = model.text(TEXTS)
    for row, text in zip(found, TEXTS, strict=True):
        torch.testing.assert_close(model.text(text[text > 0][None])[0], row)
    left = torch.stack([torch.cat([text[text == 0], text[text > 0]]) for text in TEXTS])
    torch.testing.assert_close(model.text(left), found)
    swapped = TEXTS[:1, [1, 0, 2, 3, 4]]
    assert (model.text(swapped) - found[0]).abs().max() > 1e-6, "the order of words counts"


def test_without_blocks_a_text_is_a_bag_of_words():
    with seeded(1):
        tower = TextTower(9, 16, depth=0, size=12).double()
    words = tower.embedding.weight[[1, 3, 4]].mean(0)
    torch.testing.assert_close(tower(TEXTS[:1])[0], tower.project(tower.norm(words)))
    torch.testing.assert_close(tower(TEXTS[:1, [2, 0, 1]]), tower(TEXTS[:1]))


def test_logits_are_cosines_over_the_temperature_and_both_towers_learn(model, images):
    cosines = F.cosine_similarity(model.image(images)[:, None], model.text(TEXTS)[None], dim=-1)
    logits = model(images, TEXTS)
    torch.testing.assert_close(logits, cosines / 0.07)
    torch.testing.assert_close(model.compare(model.encode_images(images), model.encode_texts(TEXTS)), logits)
    logits.diagonal().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name != "text.positions":
            assert parameter.grad.abs().max() > 0, name


def test_the_scale_stops_at_100(model):
    assert model.log_scale.exp().item() == pytest.approx(1 / 0.07)
    model.clip_scale()
    assert model.log_scale.exp().item() == pytest.approx(1 / 0.07)
    model.log_scale.data.fill_(7.0)
    model.clip_scale()
    assert model.log_scale.exp().item() == pytest.approx(100)
    model.log_scale.grad = torch.ones_like(model.log_scale)
    torch.optim.SGD([model.log_scale], 0.1).step()
    assert model.log_scale.item() == pytest.approx(math.log(100) - 0.1), "and can come down again"


def test_a_class_is_the_mean_of_its_names_in_all_templates(model, images):
    names = torch.stack([TEXTS[:3], TEXTS[[4, 3, 0]]])
    vectors = class_vectors(model, names)
    for k in range(3):
        mean = (model.encode_texts(names[0, k][None]) + model.encode_texts(names[1, k][None]))[0] / 2
        torch.testing.assert_close(vectors[k], mean / mean.norm())
    logits = classify(model, images, vectors)
    torch.testing.assert_close(logits, model.encode_images(images) @ vectors.T / 0.07)
    assert not logits.requires_grad
    torch.testing.assert_close(zero_shot(model, images, names), logits)


def test_accuracy_is_counted_by_class():
    logits = torch.tensor([[3.0, 1, 0], [0, 1, 0], [0, 4, 5], [1, 0, 0], [1, 2, 0]])
    found = accuracy_by_class(logits, torch.tensor([0, 1, 1, 1, 1]))
    assert found[:2].tolist() == [100, 50]
    assert found[2].isnan()


def test_a_textual_prompt_stands_in_the_place_of_words_and_learns_alone(model):
    model.requires_grad_(False)
    words = torch.tensor([2, 7])
    prompt = model.text.embedding.weight[words].clone().requires_grad_()
    told = torch.cat([words.expand(5, 2), TEXTS], 1)
    torch.testing.assert_close(model.encode_texts(TEXTS, prompt), model.encode_texts(told))
    torch.testing.assert_close(class_vectors(model, TEXTS[None], prompt), model.encode_texts(told))
    class_vectors(model, TEXTS[None], prompt)[:, 0].sum().backward()
    assert (prompt.grad.abs().amax(1) > 0).all()
    other = model.text.embedding.weight[[1, 4]]
    each = model.encode_texts(TEXTS[:2], torch.stack([prompt, other]))
    torch.testing.assert_close(each[0], model.encode_texts(TEXTS[:1], prompt)[0])
    torch.testing.assert_close(each[1], model.encode_texts(TEXTS[1:2], other)[0])
    with pytest.raises(ValueError, match="8 tokens to read, prompt included; there are positions for 7"):
        model.encode_texts(TEXTS, prompt.repeat(2, 1)[:3])


def test_a_transformer_can_be_the_image_tower_and_take_visual_prompts(images):
    with seeded(2):
        vit = ViT(image_size=16, patch=4, width=16, depth=2, heads=2, classes=12).double().eval()
        model = CLIP(vit, TextTower(9, 16, size=12).double())
    assert model(images, TEXTS).shape == (5, 5)
    torch.testing.assert_close(prompted(vit, images, torch.zeros(0, 16).double()), vit(images))
    prompt = torch.randn(3, 16, dtype=torch.double, requires_grad=True)
    x = vit.embed(images)
    x = torch.cat([x[:, :1], prompt.expand(5, 3, 16), x[:, 1:]], 1)
    for block in vit.blocks:
        x = block(x)
    found = prompted(vit.requires_grad_(False), images, prompt)
    torch.testing.assert_close(found, vit.head(vit.norm(x[:, 0])))
    found.sum().backward()
    assert prompt.grad.abs().max() > 0


def test_copies_are_independent(model, images):
    copy = deepcopy(model)
    copy.log_scale.data.add_(1)
    assert model.log_scale != copy.log_scale
