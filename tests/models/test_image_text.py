"""The language model that reads patches in the place of tokens."""

import pytest
import torch

from stages.models import ImageTextGPT, seeded
from stages.models.gpt import GPT

SLOT, WORDS = 1, 12


def small(**options):
    with seeded(0):
        model = ImageTextGPT(WORDS, SLOT, image_size=8, patch=4, width=16, depth=2, heads=2, length=16, **options)
    return model.eval()


def row(*tokens, length=8):
    return [*tokens, *[0] * (length - len(tokens))]


PICTURE = [SLOT] * 4
TOKENS = torch.tensor([row(5, *PICTURE, 7), row(5, 6, 7), row(*PICTURE, 3, 9)])


def test_a_text_without_pictures_is_read_as_by_the_gpt_alone():
    model = small()
    tokens = torch.tensor([row(5, 6, 7), row(8, 2)])
    torch.testing.assert_close(model(tokens), model.gpt(tokens))


def test_patches_stand_in_the_slots_of_their_own_row_in_order():
    model = small()
    images = torch.rand(2, 3, 8, 8)
    vectors = model.embed(TOKENS, images)
    words = model.gpt.embedding.weight
    patches = [model.patches(image[None])[0] + model.places for image in images]
    torch.testing.assert_close(vectors[0, 1:5], patches[0])
    torch.testing.assert_close(vectors[2, :4], patches[1])
    torch.testing.assert_close(vectors[1], words[TOKENS[1]])
    torch.testing.assert_close(vectors[2, 4:], words[TOKENS[2, 4:]])


@pytest.mark.parametrize("stem", ["linear", "convolution"])
def test_gradients_reach_the_stem_and_a_picture_only_its_own_row(stem):
    model = small(stem=stem)
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    model(TOKENS, images)[0, 5].sum().backward()
    assert images.grad[0].abs().sum() > 0
    assert images.grad[1].abs().sum() == 0
    assert all(p.grad is not None for p in model.patches.parameters())
    assert model.places.grad.abs().sum(1).min() > 0


def test_nothing_sees_what_comes_later_and_pads_on_the_right_change_nothing():
    model = small()
    images = torch.rand(2, 3, 8, 8)
    states = model.final_states(TOKENS, images)
    later = TOKENS.clone()
    later[:, -1] = 9
    torch.testing.assert_close(model.final_states(later, images)[:, :-1], states[:, :-1])
    torch.testing.assert_close(model.final_states(TOKENS[:, :6], images), states[:, :6])
    other = images.flip(0)
    seen = model.final_states(TOKENS, other)
    torch.testing.assert_close(seen[0, 0], states[0, 0])
    torch.testing.assert_close(seen[1], states[1])
    assert not torch.allclose(seen[0, 5], states[0, 5])


def test_writing_after_a_picture_takes_the_likeliest_token_step_by_step():
    model = small()
    images = torch.rand(2, 3, 8, 8)
    tokens = TOKENS[[0, 2], :6]
    made = model.generate(tokens, images, 3)
    for _ in range(3):
        best = model(tokens, images)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, best], 1)
    assert made.tolist() == tokens[:, 6:].tolist()
    assert model.generate(tokens[:1, :6], images[:1], 3, stop=made[0, :1].tolist()).shape == (1, 1)


def test_pads_on_the_left_are_hidden_by_a_mask():
    model = small()
    image = torch.rand(1, 3, 8, 8)
    short = torch.tensor([[5, *PICTURE, 7]])
    padded = torch.cat([torch.zeros(1, 2, dtype=torch.long), short], 1)
    left = model.final_states(padded, image, padded != 0)
    torch.testing.assert_close(left[:, 2:], model.final_states(short, image))
    torch.testing.assert_close(model(padded, image, padded != 0)[:, 2:], model(short, image))


def test_it_is_a_gpt_with_tied_words():
    model = small()
    assert isinstance(model.gpt, GPT)
    assert model.places.std().item() == pytest.approx(model.gpt.embedding.weight.std().item(), rel=0.3)
    states = model.final_states(TOKENS, torch.rand(2, 3, 8, 8))
    torch.testing.assert_close(model.gpt.logits(states), states @ model.gpt.embedding.weight.T)


@pytest.mark.parametrize(
    ("tokens", "pictures", "message"),
    [
        (TOKENS, 1, "1 pictures for 2 rows"),
        (TOKENS[1:2], 1, "1 pictures for 0 rows"),
        (TOKENS, None, "0 pictures for 2 rows"),
        (torch.tensor([row(5, SLOT, SLOT, 7)]), 1, "row 0 has 2 slots; a picture has 4"),
    ],
)
def test_wrong_numbers_of_slots_are_named(tokens, pictures, message):
    images = None if pictures is None else torch.rand(pictures, 3, 8, 8)
    with pytest.raises(ValueError, match=message):
        small()(tokens, images)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"patch": 5}, "patch 5 must divide image_size 16"),
        ({"stem": "round"}, "no stem 'round'"),
        ({"slot": 12}, "slot 12 is no token; there are 0 to 11"),
    ],
)
def test_a_network_that_cannot_be_made_says_why(how, message):
    with pytest.raises(ValueError, match=message):
        ImageTextGPT(**{"vocabulary": WORDS, "slot": SLOT, "width": 16, **how})
