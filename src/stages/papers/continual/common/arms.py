"""The methods that several papers of the chapter compare on Shapes-R, at one size and
with the rates tuned for them.

The transformer is `vit_p8`. The paper of CODA-Prompt puts prompts into the first five
of twelve blocks; here they go into the last three of four: what enters block 1 never
changes and is kept, which saves a third of the time.
"""

from collections.abc import Mapping
from types import MappingProxyType

from stages.models import ViT
from stages.papers.continual.common.loop import Encoded, FineTuned
from stages.papers.continual.common.prompts import (
    L2P,
    CodaPrompt,
    DualPrompt,
    OnePrompt,
    Prompt,
    Prompted,
)
from stages.papers.continual.common.streams import Stream

WIDTH, BLOCKS = 64, (1, 2, 3)
COMPONENTS, LENGTH = (
    40,
    8,
    # CODA-Prompt's, of the whole stream: a multiple of 5, 10 and 20 tasks, at most the
    # width
)
CODA, DUAL, L2PP, DEEP, ONE, HEAD, MEAN, FTPP, FT = (
    "CODA-Prompt",
    "DualPrompt",
    "L2P++",
    "Deep L2P++",
    "OnePrompt",
    "head only",
    "nearest mean",
    "FT++",
    "FT",
)

# Adam's learning rate and the scale of initial prompts by method: the best of six pairs
# on average over seeds 1000 to 1003, on the first two tasks of the stream, with 200
# updates each.
RATES: Mapping[str, float] = MappingProxyType(
    {
        CODA: 0.01,
        DUAL: 0.01,
        L2PP: 0.01,
        DEEP: 0.01,
        ONE: 0.01,
        HEAD: 0.01,
        FTPP: 1e-3,
        FT: 1e-3,
    }
)
SCALES: Mapping[str, float] = MappingProxyType(
    {CODA: 4.0, DUAL: 0.1, L2PP: 0.1, DEEP: 0.1, ONE: 1.0}
)


def make_prompt(
    method: str,
    tasks: int,
    seed: int,
    components: int = COMPONENTS,
    scale: float | None = None,
    **coda,
) -> Prompt | None:
    """Make a method's prompt, None for the head alone.

    DualPrompt and both L2P++ get as many weights as CODA-Prompt with so many
    `components`, to within a tenth; OnePrompt is small by design. `coda` goes to
    `CodaPrompt`, as any method goes that is not named above.
    """
    scale = scale or SCALES.get(method, SCALES[CODA])
    weights = len(BLOCKS) * components * (LENGTH + 2)  # in rows of the width
    match method:
        case "head only":
            return None
        case "OnePrompt":
            return OnePrompt({1: 4, 2: 12, 3: 12}, WIDTH, scale, seed)
        # a general prompt of 6 in the first block; the rest are experts, each with a
        # key
        case "DualPrompt":
            expert = _even((weights - 6) / (2 * tasks) - 1)
            return DualPrompt(
                tasks, 6, expert, BLOCKS[:1], BLOCKS[1:], WIDTH, scale, seed
            )
        case "L2P++":  # longer prompts make up for the two blocks without
            return L2P(
                components,
                _even(weights / components - 1),
                3,
                BLOCKS[:1],
                WIDTH,
                scale,
                seed,
            )
        case "Deep L2P++":
            return L2P(
                components,
                _even(weights / components / len(BLOCKS) - 1),
                3,
                BLOCKS,
                WIDTH,
                scale,
                seed,
            )
    return CodaPrompt(tasks, components, LENGTH, BLOCKS, WIDTH, scale, seed, **coda)


def _even(length: float) -> int:
    return 2 * max(1, round(length / 2))


def make_learner(
    method: str,
    vit: ViT,
    stream: Stream,
    encoded: Encoded,
    seed: int,
    prompt: Prompt | None = None,
) -> Prompted | FineTuned:
    """Make the learner of a method, with its own prompt unless one is given. `encoded`
    is kept at block BLOCKS[0].
    """
    if method in (FT, FTPP):
        return FineTuned(vit, stream, hide=method == FTPP)
    return Prompted(
        vit, prompt or make_prompt(method, len(stream), seed), stream, encoded
    )
