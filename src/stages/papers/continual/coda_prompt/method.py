"""CODA-Prompt, and CODA-Prompt without attention.

A frozen transformer reads a prompt beside the image. Pools choose the prompt by a key,
and no gradient of the loss passes a choice; CODA-Prompt sums all of its components with
signed weights instead, so that keys, attention vectors and components all learn from
the task's own loss. Each task adds components, orthogonal to the older ones, which are
frozen.

The method itself is `CodaPrompt` in `stages.papers.continual.common.coda`, where other
papers find it as well.
"""

from jaxtyping import Float
from torch import Tensor

from stages.papers.continual.common.coda import CodaPrompt, gram_schmidt
from stages.papers.continual.common.prompts import Query

__all__ = ["CodaPrompt", "NoAttention", "gram_schmidt"]


class NoAttention(CodaPrompt):
    """CODA-Prompt with A = 1, an ablation of the paper:

        α_m = cos(q(x), K_m),   p(x) = Σ_m α_m P_m.

    Its attention vectors are there, and nothing reads or trains them.
    """

    def attended(self, query: Query) -> Float[Tensor, "blocks batch seen width"]:
        """Return q(x) for every component."""
        seen = self.rows(self.keys)
        blocks, components, _ = seen.shape
        return query[None, :, None].expand(blocks, -1, components, -1)
