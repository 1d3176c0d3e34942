"""What is asked and answered about pictures of two things, and about their captions.

A text is `<sys> S <user> content U <asst> answer <end>`. S is a system message, U the
user's line; either may be empty. The content is a picture, as sixteen `<patch>` that a
network replaces by what it sees, or a caption: "red ring and blue bar", in random
order. The answer is a caption, a sentence about one thing, or one word.

What one word is asked for with is `SYSTEM_LINES` and `USER_LINES`. `SYSTEM` and `USER`
ask for it too, and are in no conversation: they are for tests.
"""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import torch_rng
from stages.worlds.captions import rows
from stages.worlds.shapes.quads import COLOURS, SHAPES, Quads
from stages.worlds.vocabulary import PAD, Answered, Vocabulary, answered, join

SLOTS = 16  # of a picture
MARKS = ("<sys>", "<user>", "<asst>", "<end>", "<patch>")

# one word is asked for in four ways by the system, and in four by the user
SYSTEM_LINES = (
    "answer in one word",
    "say what is there in one word",
    "a single word is the answer",
    "summarise with a single word",
)
USER_LINES = (
    "name it in one word",
    "describe it in one word",
    "which word is it",
    "represent this with a single word",
)
SYSTEM = "summarise the picture in one word and describe the text in one word"
USER = "represent the input in one word"

PLAIN_SYSTEM_LINES = (
    *("", "", "answer in full"),
    "say what is in the picture or the text",
)
PLAIN_USER_LINES = ("", "", "describe the input", "tell it in other words")
QUESTION_WORDS = "which colour is the ? which shape is the ? thing a"

CAPTION, RESTATE, ASK_PICTURE, ASK_TEXT, WORD_PICTURE, WORD_TEXT = range(6)
OTHER_WORDS = 0.02  # of the captions that are told so without being asked
# what forty texts after one another are; in six of them the answer is one word
KINDS = (CAPTION,) * 14 + (RESTATE,) * 8 + (ASK_PICTURE,) * 8 + (ASK_TEXT,) * 4
WITH_WORDS = (*KINDS, *(WORD_PICTURE, WORD_TEXT) * 3)
WITHOUT_WORDS = (*KINDS, *(CAPTION, RESTATE) * 3)
Tokens = Int[Tensor, "n length"]


@cache
def vocabulary() -> Vocabulary:
    """Make the vocabulary of all that is said."""
    said = (*MARKS, *COLOURS, *SHAPES, "and", QUESTION_WORDS.replace("?", ""))
    lines = (*SYSTEM_LINES, *USER_LINES, SYSTEM, USER)
    plain = (*PLAIN_SYSTEM_LINES, *PLAIN_USER_LINES)
    return Vocabulary(dict.fromkeys(" ".join((*said, *lines, *plain)).split()))


# ------------------------------------------------------------------------ what is shown


def things(scenes: Quads) -> Int[Tensor, "n 2 2"]:
    """Return colour and shape of both things, from 0, in the order of their quarters.

    Raises:
        ValueError: a scene has another number of things than two.
    """
    present = scenes.shape > 0
    if not (present.sum(1) == 2).all():
        raise ValueError("pictures are talked about that show two things")
    both = torch.stack([scenes.colour, scenes.shape], -1) - 1
    return both[present].view(-1, 2, 2)


def scene_kinds(scenes: Quads) -> Int[Tensor, " n"]:
    """Number scenes so that two have one number if and only if they show the same two
    things, wherever these are: there are 666 kinds.
    """
    first, second = (things(scenes) @ torch.tensor([len(SHAPES), 1])).sort(1)[0].T
    return first * len(COLOURS) * len(SHAPES) + second


def captions(
    scenes: Quads, seed: int, stream: Sequence[str | int] = ()
) -> Int[Tensor, "n 5"]:
    """Describe scenes in full, "red ring and blue bar"; which thing comes first is
    drawn.
    """
    return _caption(_swapped(things(scenes), _even(len(scenes), seed, stream, "order")))


def pictures(n: int) -> Int[Tensor, "n 16"]:
    """Return the slots that n pictures are read in."""
    return torch.full((n, SLOTS), vocabulary().number["<patch>"])


def prompts(
    content: Tokens, system: str | Tokens = "", user: str | Tokens = ""
) -> Tokens:
    """Write what stands before an answer, `<sys> S <user> content U <asst>`, with pads
    on the right.

    Args:
        content: slots of pictures, or captions; pads are dropped.
        system, user: S and U, one for all rows, or one a row.
    """
    first, second = (
        rows(vocabulary(), [line])[0] if isinstance(line, str) else line
        for line in (system, user)
    )
    parts = (_mark("<sys>"), first, _mark("<user>"), content, second, _mark("<asst>"))
    return join(*parts)


# ----------------------------------------------------------------------- what is talked


def text_kinds(n: int, one_word: bool = True) -> Int[Tensor, " n"]:
    """Tell which of the six kinds each of n conversations is."""
    cycle = torch.tensor(WITH_WORDS if one_word else WITHOUT_WORDS)
    return cycle[torch.arange(n) % len(cycle)]


def conversations(
    scenes: Quads,
    seed: int,
    one_word: bool = True,
    stream: Sequence[str | int] = (),
) -> Answered:
    """Talk about scenes, once about each: ask, and answer.

    Captions of pictures, captions told again, questions about a colour or a shape, and
    one word, which is any of the four that tell the colours and the shapes. A caption
    in an answer has another form, "ring in red and bar in blue", where other words are
    asked for, and now and then where they are not. One word is asked for by the system
    in a third of these texts, by the user in a third, and by both in a third. In six
    texts of forty the answer is one word.

    Args:
        one_word: whether there are such texts; where not, captions and captions told
            again take their places.
    """
    n = len(scenes)
    kind = text_kinds(n, one_word)

    def even(name: str) -> Float[Tensor, " n"]:
        return _even(n, seed, stream, name)

    both = things(scenes)
    shown = _caption(_swapped(both, even("content")))
    seen = _either(kind, CAPTION, ASK_PICTURE, WORD_PICTURE)
    content = torch.where(seen, pictures(n), _wide(shown))
    question, sentence = _questions(both, even("asked"), even("colour or shape"))
    word = _wide(_chosen(_words(both), even("word"))[:, None])
    line = even("user line")
    told = _swapped(both, even("answer"))
    other = (line * len(PLAIN_USER_LINES)).long() == len(PLAIN_USER_LINES) - 1
    other = other[:, None] | (even("other words")[:, None] < OTHER_WORDS)
    caption = torch.where(other, _wide(_restated(told)), _wide(_caption(told)))

    one = _either(kind, WORD_PICTURE, WORD_TEXT)
    ask = _either(kind, ASK_PICTURE, ASK_TEXT)
    who = even("who asks")[:, None]  # the user, the system, or both
    by_system = one & (who >= 1 / 3)
    by_user = one & ((who < 1 / 3) | (who >= 2 / 3))
    briefly = _line(SYSTEM_LINES, even("system line"))
    plain = _line(PLAIN_SYSTEM_LINES, even("plain system line"))
    system = torch.where(by_system, briefly, plain)

    user = torch.where(ask, _wide(question), _line(PLAIN_USER_LINES, line))
    user = torch.where(one, _line(USER_LINES, line) * by_user, user)
    answer = torch.where(ask, _wide(sentence), torch.where(one, word, caption))
    end = _mark("<end>").expand(n, 1)
    return answered(prompts(content, system, user), torch.cat([answer, end], 1))


def _questions(
    both: Int[Tensor, "n 2 2"],
    which: Float[Tensor, " n"],
    what: Float[Tensor, " n"],
) -> tuple[Tokens, Tokens]:
    """Ask about one thing's colour or shape, by what tells it from the other thing;
    answer in a sentence.
    """
    same_colour, same_shape = (both[:, 0] == both[:, 1]).T
    by_shape = ((what < 0.5) | same_colour) & ~(same_shape & ~same_colour)
    colour, shape = _chosen(_words(both).view(-1, 2, 2), which).T[..., None]
    # "which colour is the ring", "the ring is blue"
    colour_asked = torch.cat([_said("which colour is the", shape), shape], 1)
    colour_told = torch.cat([_said("the", shape), shape, _said("is", shape), colour], 1)
    # "which shape is the blue thing", "the blue thing is a ring"
    thing = torch.cat([_said("the", shape), colour, _said("thing", shape)], 1)
    shape_asked = torch.cat([_said("which shape is", shape), thing], 1)
    shape_told = torch.cat([thing, _said("is a", shape), shape], 1)
    by_shape = by_shape[:, None]
    asked = torch.where(by_shape, _wide(colour_asked), _wide(shape_asked))
    told = torch.where(by_shape, _wide(colour_told), _wide(shape_told))
    return asked, told


def _even(
    n: int, seed: int, stream: Sequence[str | int], name: str
) -> Float[Tensor, " n"]:
    chance = torch_rng(seed, "picture talk", *stream, name)
    return torch.rand(n, generator=chance, dtype=torch.float64)


def _swapped(
    both: Int[Tensor, "n 2 2"], even: Float[Tensor, " n"]
) -> Int[Tensor, "n 2 2"]:
    """Turn the order of half of the pairs of things."""
    return torch.where((even < 0.5)[:, None, None], both, both.flip(1))


def _words(both: Int[Tensor, "n 2 2"]) -> Int[Tensor, "n 4"]:
    """Return the words for two things: colour, shape, colour, shape."""
    number = vocabulary().number
    first = torch.tensor([number[COLOURS[0]], number[SHAPES[0]]])
    return (both + first).flatten(1)


def _caption(both: Int[Tensor, "n 2 2"]) -> Int[Tensor, "n 5"]:
    words = _words(both)
    return torch.cat([words[:, :2], _said("and", words), words[:, 2:]], 1)


def _restated(both: Int[Tensor, "n 2 2"]) -> Int[Tensor, "n 7"]:
    """Say "ring in red and bar in blue"."""
    words = _words(both)
    within, between = _said("in", words), _said("and", words)
    first = [words[:, 1:2], within, words[:, 0:1]]
    second = [words[:, 3:4], within, words[:, 2:3]]
    return torch.cat([*first, between, *second], 1)


def _chosen(
    rows: Int[Tensor, "n places *rest"], even: Float[Tensor, " n"]
) -> Int[Tensor, "n *rest"]:
    """Take from each row what is at the place that a number in [0, 1) falls on."""
    return rows[torch.arange(len(rows)), (even * rows.shape[1]).long()]


def _line(lines: Sequence[str], even: Float[Tensor, " n"]) -> Int[Tensor, "n 16"]:
    every = _wide(rows(vocabulary(), lines))
    return every[(even * len(lines)).long()]


def _said(text: str, like: Tokens) -> Tokens:
    return vocabulary().encode(text).expand(len(like), -1)


def _wide(tokens: Tokens) -> Int[Tensor, "n 16"]:
    """Add pads on the right, so that unlike pieces fit into one table."""
    return F.pad(tokens, (0, SLOTS - tokens.shape[1]), value=PAD)


def _mark(mark: str) -> Int[Tensor, " 1"]:
    return vocabulary().encode(mark)


def _either(kind: Int[Tensor, " n"], *kinds: int) -> Bool[Tensor, "n 1"]:
    return torch.isin(kind, torch.tensor(kinds))[:, None]
