import pytest
import torch

from stages.worlds.vocabulary import PAD, Vocabulary, join


def test_words_and_characters_come_back():
    words, characters = Vocabulary(("a", "cat", "sat")), Vocabulary("abc\n ", separator="")
    assert len(words) == 4
    assert words.encode("cat sat cat").tolist() == [2, 3, 2]
    assert words.decode(words.encode("a cat sat")) == "a cat sat"
    assert characters.decode(characters.encode("a cab\n")) == "a cab\n"
    assert words.decode([0, 2, 0]) == "cat"
    assert characters.encode("").shape == (0,)
    assert characters.encode("").dtype == torch.int64


def test_pieces_are_joined_without_gaps():
    one, two = torch.tensor([[1, 0], [0, 2], [0, 0]]), torch.tensor([[0, 3, 4], [5, 0, 0], [0, 0, 0]])
    assert join(one, torch.tensor([9]), two).tolist() == [[1, 9, 3, 4], [2, 9, 5, PAD], [9, PAD, PAD, PAD]]
    assert join(one, torch.tensor([9]), two, pad="left").tolist() == [[1, 9, 3, 4], [0, 2, 9, 5], [0, 0, 0, 9]]
    assert join(torch.tensor([1, 0, 2])).tolist() == [[1, 2]]
    assert join(one[:0]).shape == (0, 0)


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="the token 'a' is in the vocabulary twice"):
        Vocabulary("aba", separator="")
    with pytest.raises(ValueError, match="no token 'dog' in the vocabulary of 3"):
        Vocabulary(("a", "cat")).encode("a dog")
    with pytest.raises(ValueError, match="pads go 'left' or 'right', not 'up'"):
        join(torch.tensor([1]), pad="up")
