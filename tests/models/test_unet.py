"""The U-Net that draws after a caption."""

import pytest
import torch
from torch.nn import functional as F

from stages.models import UNet, sinusoids
from stages.models.unet import PhraseEncoder

CAPTIONS = torch.tensor([[[1, 4, 7], [0, 0, 0]], [[2, 5, 8], [3, 6, 7]]])


def awake(model, seed=0):
    """Give every parameter a value, so that nothing is silent at the start."""
    chance = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=chance)
    return model


@pytest.fixture
def small():
    return awake(UNet(10, wide=8, deep=16, condition=8, caption=6))


def drawn(model, x, t, captions, source=None):
    """The forward pass once more, in torch's functions alone."""
    p = dict(model.named_parameters())

    def linear(name, value):
        return F.linear(value, p[f"{name}.weight"], p[f"{name}.bias"])

    def conv(name, value, stride=1):
        weight = p[f"{name}.weight"]
        return F.conv2d(value, weight, p[f"{name}.bias"], stride, weight.shape[-1] // 2)

    def norm(name, value):
        return F.group_norm(value, 8, p[f"{name}.weight"], p[f"{name}.bias"])

    def block(name, value, condition):
        scale, shift = linear(f"{name}.film", condition)[..., None, None].chunk(2, 1)
        inner = conv(f"{name}.conv1", F.silu(norm(f"{name}.norm1", value)))
        inner = conv(f"{name}.conv2", F.silu(norm(f"{name}.norm2", inner) * (1 + scale) + shift))
        return inner + (conv(f"{name}.skip", value) if f"{name}.skip.weight" in p else value)

    def laid(name, caption):
        cells = linear(name, caption).view(len(caption), -1, 4, 4)
        return cells.repeat_interleave(2, 2).repeat_interleave(2, 3)

    words = p["captions.embedding.weight"][captions].sum(2)
    phrases = linear("captions.perceptron.2", F.silu(linear("captions.perceptron.0", words)))
    caption = (phrases * (captions > 0).any(2)[..., None]).sum(1)
    if model.captions.unit:
        caption = caption / (caption.square().mean(1, keepdim=True) + 1e-6).sqrt()
    time = linear("time.2", F.silu(linear("time.0", sinusoids(1000 * t, model.condition))))
    condition = F.silu(time + linear("said", caption))
    first = conv("stem", F.pixel_unshuffle(x, 2)) + laid("map_in", caption)
    if source is not None:
        first = first + conv("source", F.pixel_unshuffle(source, 2))
    kept = block("down1", first, condition)
    deep = block("middle2", block("middle1", conv("shrink", kept, 2), condition), condition)
    up = conv("widen", deep.repeat_interleave(2, 2).repeat_interleave(2, 3)) + laid("map_out", caption)
    up = block("up2", block("up1", torch.cat([up, kept], 1), condition), condition)
    return F.pixel_shuffle(conv("leave", F.silu(norm("norm", up))), 2)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("source", [True, False])
def test_it_equals_a_plain_reference(unit, source):
    model = awake(UNet(10, wide=8, deep=16, condition=8, caption=6, unit=unit, source=source))
    model.captions.embedding.weight.data[0] = 0
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0.2, 0.9])
    edited = torch.randn(2, 3, 16, 16) if source else None
    torch.testing.assert_close(
        model(x, t, CAPTIONS, edited), drawn(model, x, t, CAPTIONS, edited), rtol=1e-3, atol=1e-3
    )


def test_time_caption_and_both_maps_are_used(small):
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0.2, 0.9])
    before = small(x, t, CAPTIONS)
    assert (small(x, t.flip(0), CAPTIONS) - before).abs().max() > 1e-3
    assert (small(x, t, CAPTIONS.flip(0)) - before).abs().max() > 1e-3
    for layer in (small.map_in, small.map_out, small.said):
        kept = layer.weight.data.clone()
        layer.weight.data.zero_()
        assert (small(x, t, CAPTIONS) - before).abs().max() > 1e-4
        layer.weight.data = kept
    assert torch.equal(small(x, t, CAPTIONS), before)


def test_the_skip_path_carries_what_the_deep_path_does_not(small):
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0.2, 0.9])
    small.widen.weight.data.zero_()  # nothing comes up from below
    one = small(x, t, CAPTIONS)
    assert (small(x + 1, t, CAPTIONS) - one).abs().max() > 1e-3
    small.up1.conv1.weight.data[:, 8:] = 0  # nor along the skip
    small.up1.skip.weight.data[:, 8:] = 0
    small.up1.norm1.weight.data.zero_()
    assert torch.equal(small(x + 1, t, CAPTIONS), small(x, t, CAPTIONS))


def test_a_caption_is_a_set_of_phrases_and_padding_says_nothing():
    encoder = awake(PhraseEncoder(10, words=8, hidden=8, width=4))
    encoder.embedding.weight.data[0] = 0
    turned = CAPTIONS.flip(1)
    torch.testing.assert_close(encoder(CAPTIONS), encoder(turned))
    longer = F.pad(CAPTIONS, (0, 1, 0, 3))
    torch.testing.assert_close(encoder(CAPTIONS), encoder(longer))
    assert not encoder(torch.zeros(2, 3, 3, dtype=torch.long)).any()


def test_unit_captions_have_one_size_and_others_are_sums():
    unit, plain = (awake(PhraseEncoder(10, words=8, hidden=8, width=4, unit=u)) for u in (True, False))
    sizes = unit(CAPTIONS).square().mean(1).sqrt()
    torch.testing.assert_close(sizes, torch.ones(2), rtol=1e-3, atol=1e-3)
    parts = [plain(CAPTIONS[1:, i : i + 1]) for i in range(2)]
    torch.testing.assert_close(plain(CAPTIONS[1:]), sum(parts))


def test_a_fresh_network_answers_nothing_and_a_fresh_editor_does_not_see_its_source():
    x, t = torch.randn(2, 3, 16, 16), torch.rand(2)
    assert not UNet(10)(x, t, CAPTIONS).any()
    editor, drawer = UNet(10, source=True), UNet(10)
    awake(drawer)
    missing = editor.load_state_dict(drawer.state_dict(), strict=False)
    assert missing.missing_keys == ["source.weight", "source.bias"]
    assert torch.equal(editor(x, t, CAPTIONS, torch.randn_like(x)), drawer(x, t, CAPTIONS))


def test_wrong_use_is_refused(small):
    x, t = torch.randn(2, 3, 16, 16), torch.rand(2)
    with pytest.raises(ValueError, match="multiple of 16"):
        UNet(10, side=24)
    with pytest.raises(ValueError, match="source=True"):
        small(x, t, CAPTIONS, x)
    with pytest.raises(ValueError, match="source=True"):
        UNet(10, source=True)(x, t, CAPTIONS)
