import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from stages.models import Conv4, cosine_logits, seeded


@pytest.fixture
def model():
    with seeded(0):
        return Conv4(classes=7).double()


@pytest.fixture
def images():
    return torch.rand(6, 1, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_embedding_has_96_numbers_none_below_zero(model, images):
    features = model.features(images)
    assert features.shape == (6, 96)
    assert features.min() >= 0
    assert Conv4(image_size=32, channels=3, width=8).features(torch.rand(2, 3, 32, 32)).shape == (2, 128)


def test_it_is_four_blocks_written_out(model, images):
    x = images
    for i, part in enumerate(range(0, 16, 4)):
        convolution, norm = model.layers[part], model.layers[part + 1]
        x = F.conv2d(x, convolution.weight, padding=1)
        grouped = x.view(6, 4, -1)
        x = (grouped - grouped.mean(-1, keepdim=True)) / (grouped.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        x = (x.view(6, 24, *[20 // 2**i] * 2) * norm.weight[:, None, None] + norm.bias[:, None, None]).relu()
        x = F.max_pool2d(x, 2) if i < 3 else x
    torch.testing.assert_close(model.features(images), x.flatten(1))


def test_an_image_is_embedded_alike_in_any_batch(model, images):
    alone = torch.cat([model.features(image[None]) for image in images])
    torch.testing.assert_close(model.features(images), alone, atol=1e-12, rtol=0)
    torch.testing.assert_close(model.eval().features(images), alone, atol=1e-12, rtol=0)


def test_logits_are_scaled_cosines(model, images):
    features = model.features(images)
    expected = F.cosine_similarity(features[:, None], model.prototypes[None], dim=-1)
    torch.testing.assert_close(model(images), 10 * expected)
    torch.testing.assert_close(cosine_logits(3 * features, 5 * model.prototypes), expected)


def test_cosine_logits_take_several_heads_at_once():
    features, prototypes = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    stacked = cosine_logits(features, prototypes, 2.0)
    for i in range(2):
        torch.testing.assert_close(stacked[i], cosine_logits(features[i], prototypes[i], 2.0))


def test_a_feature_of_zeros_gives_no_nan():
    assert torch.equal(cosine_logits(torch.zeros(1, 4), torch.randn(3, 4)), torch.zeros(1, 3))


def test_parameters_count_as_they_should(model):
    expected = 9 * 24 * (1 + 3 * 24) + 4 * 2 * 24 + 7 * 96 + 1
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize(("sizes", "message"), [({"image_size": 7}, "image_size 7"), ({"groups": 5}, "groups 5")])
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Conv4(**sizes)


def test_networks_of_several_seeds_run_stacked(model, images):
    models = [model, Conv4(classes=7).double()]
    weights, buffers = stack_module_state(models)
    stacked = vmap(lambda w, b: functional_call(model, (w, b), (images,)))(weights, buffers)
    for logits, one in zip(stacked, models, strict=True):
        torch.testing.assert_close(logits, one(images), atol=1e-12, rtol=0)
