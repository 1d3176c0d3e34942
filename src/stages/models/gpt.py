"""A small causal transformer in GPT-2's form (Radford et al. 2019) that shows its
inside and lets others step in.

It reads tokens, or vectors in the place of their embeddings: another network's output,
or a hidden state of its own fed back. States between blocks come on request, hooks read
and change the outputs of single heads, and the keys and values of what was read are
kept as plain tensors, so that gradients flow back through them. All parts are public,
as in `stages.models.vit`; `torch.func.vmap` over several networks' weights works inside
`torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

States = Float[Tensor, "batch tokens width"]
Input = Int[Tensor, "batch tokens"] | States
Mask = (
    Bool[Tensor, "batch tokens"] | None
)  # False at padding; None: there is no padding
Attends = Bool[Tensor, "*batch tokens all"] | None
KeysValues = tuple[
    Float[Tensor, "batch heads _ size"], Float[Tensor, "batch heads _ size"]
]  # of the past, or of all
Hook = Callable[
    [Float[Tensor, "batch tokens heads size"]],
    Float[Tensor, "batch tokens heads size"] | None,
]
Hooks = Mapping[int, Hook] | None


@dataclass(frozen=True)
class Cache:
    """What is kept of the tokens read so far, for those to come.

    Attributes:
        blocks: of every block, keys and values, (batch, heads, past, width / heads)
            each.
        mask: (batch, past), False at padding; None where there is none.
    """

    blocks: tuple[KeysValues, ...] = ()
    mask: Bool[Tensor, "batch past"] | None = None

    @property
    def past(self) -> int:
        """How many tokens were read, padding included."""
        return self.blocks[0][0].shape[2] if self.blocks else 0


NOTHING = Cache()


class CausalAttention(nn.Module):
    """Multi-head self-attention in which a token attends to itself and to what comes
    before it.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(
        self,
        x: States,
        past: KeysValues | None = None,
        attends: Attends = None,
        hook: Hook | None = None,
    ) -> tuple[States, KeysValues]:
        """Return what each token gathers, and all keys and values, the past's in front.

        Args:
            attends: who attends to whom. None: all to the whole past, and causally to
                one another if there is none.
            hook: is given the heads' outputs, which W_O is about to mix; what it
                returns, if anything, replaces them.
        """
        q, k, v = (
            rearrange(t, "b n (h d) -> b h n d", h=self.heads)
            for t in self.qkv(x).chunk(3, -1)
        )
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        causal, dropout = (
            past is None and attends is None,
            self.dropout if self.training else 0.0,
        )
        heads = F.scaled_dot_product_attention(
            q, k, v, attends, dropout, causal
        ).transpose(1, 2)
        if hook is not None and (changed := hook(heads)) is not None:
            if changed.shape != heads.shape:
                shapes = f"{tuple(changed.shape)} for heads {tuple(heads.shape)}"
                raise ValueError(
                    f"a hook returned {shapes}; it must return their shape, or None to"
                    " leave them"
                )
            heads = changed
        return self.project(heads.flatten(2)), (k, v)


class CausalBlock(nn.Module):
    """A pre-norm block: causal attention, then a perceptron, each added to what it
    reads.
    """

    def __init__(self, width: int, heads: int, ratio: int, dropout: float):
        super().__init__()
        self.norm1, self.attention = (
            nn.LayerNorm(width),
            CausalAttention(width, heads, dropout),
        )
        self.norm2, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)
        )

    def forward(
        self,
        x: States,
        past: KeysValues | None = None,
        attends: Attends = None,
        hook: Hook | None = None,
    ) -> tuple[States, KeysValues]:
        """Return the tokens' next states, and all keys and values; the arguments are
        the attention's.
        """
        gathered, kept = self.attention(self.norm1(x), past, attends, hook)
        x = x + self.dropout(gathered)
        return x + self.dropout(self.mlp(self.norm2(x))), kept


class GPT(nn.Module):
    """A causal transformer with learned absolute positions.

    Weights start as GPT-2's, carried from its width of 768 to this one: normal, of
    deviation 0.02 sqrt(768 / width), divided by sqrt(2 depth) where a block adds to the
    states; biases start at 0.

    Args:
        vocabulary: number of tokens; None for a network that reads vectors alone.
        width, depth, heads: of a token, of the network in blocks, of an attention.
        length: the most tokens it can read, padding included.
        ratio: the perceptron's hidden width is `ratio * width`.
        head: maps final states to outputs, and starts as it comes. None ties it to the
            embedding E: h Eᵀ.
        norm: whether a LayerNorm stands before the head.
        dropout: share of the attention weights, of the embeddings and of what a block
            adds that training drops.

    Raises:
        ValueError: heads do not share out the width, or there is neither a vocabulary
            nor a head.
    """

    def __init__(
        self,
        vocabulary: int | None = 64,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        length: int = 32,
        ratio: int = 4,
        head: nn.Module | None = None,
        norm: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads {heads} must divide the width {width}")
        if vocabulary is None and head is None:
            raise ValueError(
                "without a vocabulary there is no embedding to tie the head to; give a"
                " head"
            )
        self.embedding = None if vocabulary is None else nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            CausalBlock(width, heads, ratio, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                adds = name.endswith(("project.weight", "mlp.2.weight"))
                nn.init.normal_(
                    weight,
                    std=0.02
                    * (768 / width) ** 0.5
                    / ((2 * depth) ** 0.5 if adds else 1),
                )
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        self.head = head

    def forward(
        self, x: Input, mask: Mask = None, hooks: Hooks = None
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Return the outputs at every token: the logits of the next.

        Args:
            x: tokens, or vectors of the network's width.
            mask: False at padding, on either side; None where there is none. Positions
                count from the first token that is not padding; the outputs at padding
                mean nothing.
            hooks: for some blocks, by index, a function of the heads' outputs, (batch,
                tokens, heads, width / heads), before W_O mixes them. What it returns
                takes their place, unless that is None, so that `kept = []; model(x,
                hooks={1: kept.append})` reads the heads of block 1.

        Raises:
            ValueError: x is neither tokens nor such vectors, has more of them than
                there are positions, or the mask has another shape; a hook is for a
                block that there is not, or returns another shape.
        """
        return self.logits(self.extend(x, NOTHING, mask, hooks)[0])

    def states(
        self, x: Input, mask: Mask = None, hooks: Hooks = None
    ) -> Float[Tensor, "stages batch tokens width"]:
        """Return the states that enter each block and, last, those that leave the
        network, before the final norm.
        """
        return torch.stack(self._read(x, NOTHING, mask, hooks)[0])

    def forward_from(
        self, states: States, block: int, mask: Mask = None, hooks: Hooks = None
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Go on from the states that enter `block`: `forward_from(states(x)[b], b)` is
        `forward(x)`.
        """
        if not 0 <= block <= len(self.blocks):
            raise ValueError(
                f"no block {block} to go on from; give 0 to {len(self.blocks)}"
            )
        return self.logits(
            self.norm(self._through(states, block, NOTHING, mask, hooks)[0][-1])
        )

    def extend(
        self, x: Input, cache: Cache = NOTHING, mask: Mask = None, hooks: Hooks = None
    ) -> tuple[States, Cache]:
        """Read on after what `cache` holds; return the final states of x alone, and a
        cache that holds both.

        Nothing is detached, and the cache given stays as it is: `state, cache =
        model.extend(state[:, -1:], cache)` feeds a state back. The mask is x's own;
        arguments and errors are `forward`'s. A cache of another number of sequences is
        a ValueError too.
        """
        states, cache = self._read(x, cache, mask, hooks)
        return self.norm(states[-1]), cache

    def logits(
        self, states: Float[Tensor, "*batch width"]
    ) -> Float[Tensor, "*batch outputs"]:
        """Map final states to outputs."""
        return (
            F.linear(states, self.embedding.weight)
            if self.head is None
            else self.head(states)
        )

    @torch.no_grad()
    def generate(
        self,
        x: Input,
        new: int,
        *,
        stop: Iterable[int] = (),
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        cache: Cache = NOTHING,
        mask: Mask = None,
        hooks: Hooks = None,
    ) -> Int[Tensor, "batch made"]:
        """Write up to `new` tokens after each prompt, without dropout, and return these
        alone.

        A row that has written one of the `stop` tokens repeats it; once all rows have,
        writing ends.

        Args:
            temperature: tokens are drawn from softmax(logits / temperature); 0 takes
                the likeliest.
            generator: of the draws, as from `stages.seeding.torch_rng`.
            cache: what was read before the prompts.
            mask: False at the prompts' padding, on the left.
            hooks: act while the prompts are read, and not on what is written.

        Raises:
            ValueError: nothing is to be written, the temperature is below 0, or above
                it without a generator; a prompt ends in padding; there are not
                positions enough for prompts and new tokens; and as `forward`.
        """
        if new < 1 or temperature < 0 or (temperature and generator is None):
            asked = (
                f"new {new}, temperature"
                f" {temperature}{' without a generator' if generator is None else ''}"
            )
            raise ValueError(
                f"{asked}: write 1 token or more, at temperature 0, or above with a"
                " generator"
            )
        self._check(x, cache, mask, new - 1)
        if mask is not None and not mask[:, -1].all():
            raise ValueError("a prompt ends in padding; pad on the left")

        def choose(logits: Float[Tensor, "batch outputs"]) -> Int[Tensor, " batch"]:
            if not temperature:
                return logits.argmax(-1)
            shares = (logits / temperature).softmax(-1).to(generator.device)
            return torch.multinomial(shares, 1, generator=generator)[:, 0].to(
                logits.device
            )

        training, stops = (
            self.training,
            torch.tensor([*stop], dtype=torch.long, device=x.device),
        )
        self.eval()
        try:
            state, cache = self.extend(x, cache, mask, hooks)
            made = [choose(self.logits(state[:, -1]))]
            while len(made) < new and not (ended := torch.isin(made[-1], stops)).all():
                state, cache = self.extend(made[-1][:, None], cache)
                made.append(
                    torch.where(ended, made[-1], choose(self.logits(state[:, -1])))
                )
        finally:
            self.train(training)
        return torch.stack(made, 1)

    def _check(self, x: Tensor, cache: Cache, mask: Mask, more: int = 0) -> None:
        """Raise ValueError if x, and `more` tokens after it, cannot be read after the
        cache.
        """
        width, tokens = (
            self.positions.shape[1],
            x.dim() == 2 and not x.is_floating_point(),
        )
        if (tokens and self.embedding is None) or not (
            tokens or (x.is_floating_point() and x.shape[2:] == (width,))
        ):
            reads = (
                "vectors"
                if self.embedding is None
                else "tokens (batch, tokens) or vectors"
            )
            raise ValueError(
                f"x is {x.dtype} {tuple(x.shape)}; give {reads} (batch, tokens,"
                f" {width})"
            )
        if (total := cache.past + x.shape[1] + more) > len(self.positions):
            raise ValueError(
                f"{total} tokens to read; there are positions for {len(self.positions)}"
            )
        if mask is not None and mask.shape != x.shape[:2]:
            raise ValueError(
                f"the mask is {tuple(mask.shape)}; x has {tuple(x.shape[:2])} tokens"
            )
        if cache.blocks and len(cache.blocks[0][0]) != len(x):
            raise ValueError(
                f"the cache holds {len(cache.blocks[0][0])} sequences; x has {len(x)}"
            )

    def _read(
        self, x: Tensor, cache: Cache, mask: Mask, hooks: Hooks
    ) -> tuple[list[States], Cache]:
        """Take x through all blocks, at the positions after the cache; its mask joins
        the cache's.
        """
        self._check(x, cache, mask)
        batch, n = x.shape[:2]
        positions = self.positions[cache.past : cache.past + n]
        if mask is not None or cache.mask is not None:
            both = ((cache.mask, cache.past), (mask, n))
            mask = torch.cat(
                [
                    x.new_ones(batch, m, dtype=torch.bool) if own is None else own
                    for own, m in both
                ],
                1,
            )
            positions = self.positions[(mask.cumsum(1)[:, -n:] - 1).clamp(min=0)]
        x = (x if x.is_floating_point() else self.embedding(x)) + positions
        return self._through(self.dropout(x), 0, cache, mask, hooks)

    def _through(
        self,
        x: States,
        first: int,
        cache: Cache,
        mask: Bool[Tensor, "batch all"] | None,
        hooks: Hooks,
    ) -> tuple[list[States], Cache]:
        """Take states through the blocks from `first` on; return them before, between
        and after these.
        """
        hooks, last = hooks or {}, len(self.blocks) - 1
        if wrong := set(hooks) - set(range(first, last + 1)):
            raise ValueError(
                f"a hook for block {min(wrong)}; there are blocks {first} to {last} to"
                " go through"
            )
        attends, states, kept = None, [x], []
        if mask is not None or (cache.past and x.shape[1] > 1):
            attends = x.new_ones(
                x.shape[1], cache.past + x.shape[1], dtype=torch.bool
            ).tril(cache.past)
        if (
            mask is not None
        ):  # each attends to itself at least: a softmax over nothing is not a number
            attends = attends & (mask[:, None, None] | attends.triu(cache.past))
        for i in range(first, last + 1):
            x, both = self.blocks[i](
                x, cache.blocks[i] if cache.blocks else None, attends, hooks.get(i)
            )
            states.append(x)
            kept.append(both)
        return states, Cache(tuple(kept), mask)
