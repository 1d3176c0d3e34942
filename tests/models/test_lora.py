"""LoRA: what it changes, and what it leaves."""

import pytest
import torch

from stages.models import GPT, seeded
from stages.models.lora import add_lora, merge_lora


@pytest.fixture
def model():
    with seeded(0):
        return GPT(11, 16, 2, 2, 8).double().eval()


TOKENS = torch.tensor([[1, 5, 3, 2], [7, 7, 4, 0]])


def test_at_first_nothing_changes_and_only_the_parts_learn(model):
    before = model(TOKENS).detach()
    trained = add_lora(model, "attention.qkv", "mlp.0", rank=3)
    torch.testing.assert_close(model(TOKENS), before)
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in trained}
    assert sum(p.numel() for p in trained) == 2 * 3 * ((16 + 48) + (16 + 64))
    assert torch.cat(trained[::2]).std().item() == pytest.approx(1 / 4, rel=0.2), "by the number of inputs"
    assert model.blocks[0].attention.qkv.parametrizations.weight[0].factor == 1, "alpha is the rank"
    model(TOKENS).square().sum().backward()
    up = trained[1::2]
    assert all(p.grad.abs().max() > 0 for p in up)


def test_a_layer_becomes_w_plus_alpha_over_rank_b_a(model):
    layer = model.blocks[1].attention.project
    before = layer.weight.detach().clone()
    down, up = add_lora(model, "1.attention.project", rank=2, alpha=6.0)
    up.data.normal_()
    torch.testing.assert_close(layer.weight, before + 3 * up @ down)
    found = model(TOKENS)
    merge_lora(model)
    torch.testing.assert_close(model(TOKENS), found)
    assert "blocks.1.attention.project.weight" in model.state_dict()
    assert not any("parametrizations" in name for name in model.state_dict())


def test_all_linear_layers_are_chosen_by_default_and_unknown_names_refused(model):
    with pytest.raises(ValueError, match=r"ends in 'query'; there are blocks\.0\.attention\.qkv"):
        add_lora(model, "attention.qkv", "query")
    assert all(p.requires_grad for p in model.parameters()), "nothing was touched"
    assert len(add_lora(model)) == 2 * 2 * 4
