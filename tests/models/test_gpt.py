import math
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from stages.models import GPT, Cache, seeded
from stages.seeding import torch_rng

SIZES = {"vocabulary": 11, "width": 12, "depth": 3, "heads": 3, "length": 14}
BATCH, TOKENS = 4, 9
REAL = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1, 1], [0] * 8 + [1], [1] * 9]).bool()


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def make(seed=0, **sizes):
    """A network whose norms and biases are none of the trivial ones it starts with."""
    with seeded(seed):
        model = GPT(**SIZES | sizes).double()
        for name, weight in model.named_parameters():
            scale = "norm" in name and name.endswith("weight")
            nn.init.normal_(weight, float(scale), 0.3 if weight.dim() == 1 else 0.6)
    return model


@pytest.fixture
def model():
    return make()


@pytest.fixture
def tokens():
    return torch.randint(11, (BATCH, TOKENS), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def vectors():
    return torch.randn(BATCH, TOKENS, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def heads_by_hand(block, x):
    """softmax(q kᵀ / sqrt(d)) v over the past, a sequence, a head and a token at a time: (batch, tokens, heads, d)."""
    attention, size = block.attention, x.shape[-1] // block.attention.heads
    q, k, v = attention.qkv(block.norm1(x)).chunk(3, -1)
    out = torch.zeros(*x.shape[:2], attention.heads, size, dtype=x.dtype)
    for b in range(len(x)):
        for h in range(attention.heads):
            part = slice(h * size, (h + 1) * size)
            for t in range(x.shape[1]):
                shares = (k[b, : t + 1, part] @ q[b, t, part] / math.sqrt(size)).softmax(0)
                out[b, t, h] = shares @ v[b, : t + 1, part]
    return out


def greedy_by_hand(model, row, new):
    """Read everything anew for every token."""
    for _ in range(new):
        row = torch.cat([row, model(row[None])[0, -1].argmax()[None]])
    return row[-new:]


# ---------------------------------------------------------------------------------------------------- what it computes


def test_its_blocks_are_torchs_encoder_layers_under_a_causal_mask(model, tokens):
    x, causal = model.states(tokens)[0], nn.Transformer.generate_square_subsequent_mask(TOKENS, dtype=torch.float64)
    for block, expected in zip(model.blocks, model.states(tokens)[1:], strict=True):
        layer = nn.TransformerEncoderLayer(12, 3, 48, 0.0, "gelu", batch_first=True, norm_first=True).double()
        ours, theirs = block.attention, layer.self_attn
        pairs = [(theirs.in_proj_weight, ours.qkv.weight), (theirs.in_proj_bias, ours.qkv.bias)]
        modules = [(theirs.out_proj, ours.project), (layer.linear1, block.mlp[0]), (layer.linear2, block.mlp[2])]
        for to, of in [*modules, (layer.norm1, block.norm1), (layer.norm2, block.norm2)]:
            pairs += [(to.weight, of.weight), (to.bias, of.bias)]
        for to, of in pairs:
            to.data.copy_(of.data)
        x = layer(x, src_mask=causal, is_causal=True)
        close(x, expected)


def test_ends_are_embedding_positions_norm_and_the_tied_head(model, tokens):
    close(model.states(tokens)[0], model.embedding.weight[tokens] + model.positions[:TOKENS])
    state = F.layer_norm(model.states(tokens)[-1], (12,), model.norm.weight, model.norm.bias)
    close(model(tokens), state @ model.embedding.weight.T)
    close(model.extend(tokens)[0], state)


def test_a_head_of_its_own_and_no_norm(tokens):
    head = nn.Sequential(nn.Linear(12, 2, bias=False), nn.Linear(2, 11, bias=False)).double()
    model = make(head=head, norm=False)
    close(model(tokens), model.states(tokens)[-1] @ (head[1].weight @ head[0].weight).T)


def test_it_reads_vectors_without_a_vocabulary(vectors):
    model = make(vocabulary=None, head=nn.Linear(12, 1))
    assert model(vectors).shape == (BATCH, TOKENS, 1)
    both = nn.Sequential(nn.Linear(5, 12).double(), model)
    both(vectors[..., :5]).square().mean().backward()
    assert all(p.grad is not None for p in both.parameters())


def test_vectors_are_tokens_embedded_by_hand(model, tokens):
    close(model(model.embedding(tokens)), model(tokens))
    swapped = torch.cat([model.embedding(tokens[:, :4]), model.embedding.weight[2].expand(4, 1, 12)], 1)
    close(model(swapped), model(torch.cat([tokens[:, :4], torch.full((4, 1), 2)], 1)))


@pytest.mark.parametrize("at", range(TOKENS))
def test_no_token_sees_a_later_one(model, tokens, at):
    other = tokens.clone()
    other[:, at] = (other[:, at] + 1) % 11
    before, after = model(tokens), model(other)
    close(after[:, :at], before[:, :at])
    assert not torch.isclose(after[:, at:], before[:, at:]).all(-1).any()


def test_sequences_do_not_see_one_another(model, tokens):
    close(torch.cat([model(row[None]) for row in tokens]), model(tokens))


def test_single_precision_takes_the_same_way(model, tokens):
    expected = model(tokens), model(tokens, REAL)[REAL]
    model.float()
    for found, value in zip((model(tokens), model(tokens, REAL)[REAL]), expected, strict=True):
        torch.testing.assert_close(found.double(), value, atol=1e-4, rtol=1e-4)


def test_going_on_from_kept_states_is_going_all_the_way(model, tokens):
    for mask in (None, REAL):
        states, expected = model.states(tokens, mask), model(tokens, mask)
        assert states.shape == (4, BATCH, TOKENS, 12)
        for block in range(4):
            close(model.forward_from(states[block], block, mask), expected)


def test_gradients_are_right(model, vectors):
    x = vectors[:2, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(x, REAL[:2, -4:]), x, fast_mode=True)


# ------------------------------------------------------------------------------------------------------------ the cache


@pytest.mark.parametrize("cuts", [(1,), (4,), (8,), (3, 4, 7), range(1, 9)])
@pytest.mark.parametrize("mask", [None, REAL])
def test_reading_in_parts_is_reading_at_once(model, tokens, cuts, mask):
    cache, parts = Cache(), []
    for start, end in pairwise((0, *cuts, TOKENS)):
        states, cache = model.extend(tokens[:, start:end], cache, None if mask is None else mask[:, start:end])
        parts.append(model.logits(states))
    assert cache.past == TOKENS
    real, weights = slice(None) if mask is None else mask, [*model.parameters()]
    gradients = []
    for logits in (torch.cat(parts, 1), model(tokens, mask)):
        loss = F.cross_entropy(logits[real].flatten(0, -2), tokens[real].flatten())
        gradients.append([loss.detach(), *torch.autograd.grad(loss, weights)])
        assert all(gradient.isfinite().all() for gradient in gradients[-1])
    close(torch.cat(parts, 1)[real], model(tokens, mask)[real])
    close(*gradients)


def test_a_mask_is_needed_only_where_there_is_padding(model, tokens):
    for early, late in ((REAL[:, :5], None), (None, torch.ones(4, 4).bool())):
        states, cache = model.extend(tokens[:, :5], mask=early)
        states, cache = model.extend(tokens[:, 5:], cache, late)
        ones = torch.ones(4, 5).bool()
        whole = torch.cat([ones if early is None else early, torch.ones(4, 4).bool()], 1)
        assert torch.equal(cache.mask, whole)
        close(model.logits(states), model(tokens, whole)[:, 5:])


def test_states_fed_back_are_a_chain_that_gradients_run_through(model, tokens):
    """z_k is the state before its slot: H(U), H(U + z_1), H(U + z_1 + z_2), with and without the cache."""
    chains = []
    for cached in (True, False):
        x = model.embedding(tokens).detach().requires_grad_()
        (state, cache), latents = model.extend(x), []
        for _ in range(3):
            latents.append(state[:, -1:])
            if cached:
                state, cache = model.extend(latents[-1], cache)
            else:
                state, _ = model.extend(torch.cat([x, *latents], 1))
        out = model.logits(state[:, -1])
        chains.append([*latents, out, *torch.autograd.grad(out.logsumexp(-1).sum(), [x, *latents, model.positions])])
    close(*chains)
    assert all(gradient.abs().max() > 1e-6 for gradient in chains[0][4:])


def test_a_cache_is_not_used_up(model, tokens):
    _, cache = model.extend(tokens[:, :5])
    kept = [part.clone() for both in cache.blocks for part in both]
    once, again = (model.extend(tokens[:, 5:], cache)[0] for _ in range(2))
    assert torch.equal(once, again)
    assert all(torch.equal(a, b) for a, b in zip(kept, (p for both in cache.blocks for p in both), strict=True))


# ---------------------------------------------------------------------------------------------------------- the padding


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model, tokens, side):
    mask = REAL if side == "left" else REAL.flip(1)
    padded, states = model(tokens, mask), model.states(tokens, mask)
    for i, row in enumerate(mask):
        alone = tokens[i, row][None]
        close(padded[i, row], model(alone)[0])
        close(states[:, i, row], model.states(alone)[:, 0])
    other = tokens.where(mask, (tokens + 5) % 11)
    close(model(other, mask)[mask], padded[mask])
    assert padded.isfinite().all()


def test_no_gradient_comes_from_padding(model, tokens):
    x = model.embedding(tokens).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x, REAL)[REAL].square().sum(), x)
    assert not gradient[~REAL].any()
    assert gradient[REAL].all()


# ------------------------------------------------------------------------------------------------------------ the hooks


def test_hooks_read_the_heads(model, tokens):
    kept = {i: [] for i in range(3)}
    plain, states = model(tokens), model.states(tokens)
    close(model(tokens, hooks={i: read.append for i, read in kept.items()}), plain)
    for i, block in enumerate(model.blocks):
        (heads,) = kept[i]
        close(heads, heads_by_hand(block, states[i]))
        gathered = states[i] + block.attention.project(heads.flatten(2))
        close(states[i + 1], gathered + block.mlp(block.norm2(gathered)))


@pytest.mark.parametrize("block", range(3))
def test_an_edit_changes_what_follows_and_no_more(model, tokens, block):
    def edit(heads):
        changed = heads.clone()
        changed[1, 4, 2] += 1
        return changed

    plain, edited = model.states(tokens), model.states(tokens, hooks={block: edit})
    reached = torch.zeros(4, BATCH, TOKENS, dtype=torch.bool)
    reached[block + 1, 1, 4] = True  # later blocks carry it to later tokens
    reached[block + 2 :, 1, 4:] = True
    assert torch.equal(~torch.isclose(plain, edited, rtol=0, atol=1e-12).all(-1), reached)
    attention = model.blocks[block].attention
    difference = attention(plain[0], hook=edit)[0] - attention(plain[0])[0]
    close(difference[1, 4], attention.project.weight[:, 8:].sum(1))  # heads' width is 4


def test_a_soft_edit_is_trained_in_a_frozen_network(model, tokens):
    """o ← (1 - α) o + α t at the last token, α of every head alone."""
    model.requires_grad_(False)
    trace = torch.randn(3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def logits(alpha):
        def hook(i):
            def mix(heads):
                last = torch.lerp(heads[:, -1:], trace[i].expand_as(heads[:, -1:]), alpha[i, :, None])
                return torch.cat([heads[:, :-1], last], 1)

            return mix

        return model(tokens, hooks={i: hook(i) for i in range(3)})[:, -1]

    close(logits(torch.zeros(3, 3).double()), model(tokens)[:, -1])
    alpha = torch.full((3, 3), 0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(logits, alpha, fast_mode=True)
    logits(alpha).logsumexp(-1).sum().backward()
    assert alpha.grad.all()
    assert all(p.grad is None for p in model.parameters())


# ---------------------------------------------------------------------------------------------------------- the writing


def test_greedy_writing_is_that_of_single_prompts_read_anew(model, tokens):
    prompts, mask = tokens[:, :6], REAL[:, 3:]
    for given, rows in ((None, prompts), (mask, [row[real] for row, real in zip(prompts, mask, strict=True)])):
        expected = torch.stack([greedy_by_hand(model, row, 5) for row in rows])
        assert len(expected.unique()) > 3
        assert torch.equal(model.generate(prompts, 5, mask=given), expected)
        assert torch.equal(model.generate(model.embedding(prompts), 5, mask=given), expected)
    _, cache = model.extend(prompts[:, :4], mask=mask[:, :4])
    assert torch.equal(model.generate(prompts[:, 4:], 5, cache=cache, mask=mask[:, 4:]), expected)


def test_a_stop_token_stops_its_row_and_the_last_stops_all(model, tokens):
    free = model.generate(tokens[:, :4], 10)
    assert free.shape == (4, 10)
    for stop in ([int(free[0, 1])], free[:, 2].tolist(), range(11)):
        expected, ends = free.clone(), []
        for row in expected:
            hits = [i for i, token in enumerate(row.tolist()) if token in stop]
            ends.append(hits[0] if hits else 9)
            row[ends[-1] :] = row[ends[-1]]
        assert torch.equal(model.generate(tokens[:, :4], 10, stop=stop), expected[:, : max(ends) + 1])


def test_drawn_tokens_come_from_the_generator_with_the_shares_of_the_softmax(model, tokens):
    model.norm.weight.data /= 2  # no token is too rare to count
    prompt, draws = tokens[:1, :3].expand(6_000, 3), {}
    for temperature in (0.7, 1.6):
        drawn = model.generate(prompt, 1, temperature=temperature, generator=torch_rng(0, "draws"))
        same = model.generate(prompt, 1, temperature=temperature, generator=torch_rng(0, "draws"))
        other = model.generate(prompt, 1, temperature=temperature, generator=torch_rng(1, "draws"))
        assert torch.equal(drawn, same)
        assert not torch.equal(drawn, other)
        shares = (model(prompt[:1])[0, -1] / temperature).softmax(0)
        found, expected = torch.bincount(drawn[:, 0], minlength=11), 6_000 * shares
        assert expected.min() > 5
        assert ((found - expected).square() / expected).sum() < 29.6  # chi-squared of 10 degrees, p = 0.001
        draws[temperature] = found.max()
    assert draws[0.7] > draws[1.6]


def test_drawing_goes_on_from_what_was_drawn_and_grows_greedy_when_cold(model, tokens):
    prompt, cold = tokens[:, :4], {"temperature": 1e-4, "generator": torch_rng(0)}
    assert torch.equal(model.generate(prompt, 6, **cold), model.generate(prompt, 6))
    drawn = model.generate(prompt, 6, temperature=2.0, generator=torch_rng(0))
    generator = torch_rng(0)
    for step in range(6):
        shares = (model(torch.cat([prompt, drawn[:, :step]], 1))[:, -1] / 2).softmax(-1)
        assert torch.equal(torch.multinomial(shares, 1, generator=generator)[:, 0], drawn[:, step])


def test_hooks_act_while_the_prompt_is_read(model, tokens):
    calls = []
    edits = {1: lambda heads: (calls.append(heads.shape[1]), 0 * heads)[1]}
    found = model.generate(tokens[:, :4], 6, hooks=edits)
    assert calls == [4]
    states, cache = model.extend(tokens[:, :4], hooks=edits)
    for step in range(6):
        assert torch.equal(model.logits(states[:, -1]).argmax(-1), found[:, step])
        states, cache = model.extend(found[:, step : step + 1], cache)
    assert not torch.equal(found, model.generate(tokens[:, :4], 6))


def test_writing_is_without_dropout_and_leaves_the_mode_as_it_was(tokens):
    model = make(dropout=0.5)
    assert not torch.equal(model(tokens), model(tokens))
    assert torch.equal(model.generate(tokens, 6), model.generate(tokens, 6))
    with pytest.raises(ValueError, match="a hook for block 9"):
        model.generate(tokens, 6, hooks={9: print})
    assert all(module.training for module in model.modules())
    model.eval()
    model.generate(tokens, 2)
    assert not any(module.training for module in model.modules())
    assert torch.equal(model(tokens), model(tokens))


# ------------------------------------------------------------------------------------------------------------ the start


def test_parameters_count_as_they_should_and_none_is_kept_twice():
    for sizes in ({}, {"width": 32, "depth": 3, "vocabulary": 7, "length": 5, "ratio": 2}):
        v, w, d, n, r = ({"vocabulary": 64, "width": 64, "depth": 2, "length": 32, "ratio": 4} | sizes).values()
        block = 4 * w + 4 * w * (w + 1) + 2 * r * w**2 + (r + 1) * w
        model = GPT(**sizes)
        assert sum(p.numel() for p in model.parameters()) == d * block + (v + n) * w + 2 * w
        state = load(save(model.state_dict()))
        assert sorted(state) == sorted(name for name, _ in model.named_parameters())


def test_weights_start_as_gpt2s_at_any_width():
    head = nn.Linear(128, 3)
    start = head.weight.clone()
    with seeded(0):
        model = GPT(vocabulary=300, width=128, depth=8, length=200, head=head)
    assert torch.equal(model.head.weight, start)
    base = 0.02 * math.sqrt(768 / 128)
    for name, weight in model.named_parameters():
        if name.startswith("head"):
            continue
        if weight.dim() == 1:
            assert torch.equal(weight, torch.full_like(weight, "norm" in name and name.endswith("weight")))
        else:
            expected = base / 4 if "project" in name or "mlp.2" in name else base
            assert weight.std().item() == pytest.approx(expected, rel=0.03)


def test_it_starts_near_chance_and_a_few_steps_lower_the_loss(tokens):
    with seeded(0):
        model = GPT(**SIZES)
    made = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        made.zero_grad()
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(11), abs=0.5)
    assert losses[-1] < losses[0] / 3


def test_networks_of_several_seeds_run_stacked(tokens):
    models = [make(seed) for seed in range(2)]
    weights, buffers = stack_module_state(models)
    with sdpa_kernel(SDPBackend.MATH):
        for mask in (None, REAL):
            stacked = vmap(lambda w, b, x, m=mask: functional_call(models[0], (w, b), (x, m)), (0, 0, None))
            for logits, one in zip(stacked(weights, buffers, tokens), models, strict=True):
                close(logits[REAL], one(tokens, mask)[REAL])


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": 5}, "heads 5 must divide the width 12"),
        ({"vocabulary": None}, "without a vocabulary there is no embedding to tie the head to; give a head"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        GPT(**SIZES | sizes)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.zeros(3).long(),
            r"x is torch.int64 \(3,\); give tokens \(batch, tokens\) or vectors \(batch, tokens, 12",
        ),
        (torch.zeros(2, 3, 5), r"x is torch.float32 \(2, 3, 5\); give tokens"),
        (torch.zeros(2, 3), r"x is torch.float32 \(2, 3\); give tokens"),
        (torch.zeros(2, 3, 12).long(), r"x is torch.int64 \(2, 3, 12\); give tokens"),
        (torch.zeros(2, 15).long(), "15 tokens to read; there are positions for 14"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(model, x, message):
    for call in (model, model.states, model.extend, lambda x: model.generate(x, 1)):
        with pytest.raises(ValueError, match=message):
            call(x)


def test_tokens_for_a_network_of_vectors_are_refused(tokens):
    with pytest.raises(ValueError, match=r"x is torch.int64 \(4, 9\); give vectors \(batch, tokens, 12\)"):
        make(vocabulary=None, head=nn.Linear(12, 11))(tokens)


def test_masks_caches_and_blocks_that_do_not_fit_are_refused(model, tokens):
    with pytest.raises(ValueError, match=r"the mask is \(4, 8\); x has \(4, 9\) tokens"):
        model(tokens, REAL[:, 1:])
    _, cache = model.extend(tokens)
    with pytest.raises(ValueError, match="the cache holds 4 sequences; x has 2"):
        model.extend(tokens[:2, :3], cache)
    with pytest.raises(ValueError, match="15 tokens to read; there are positions for 14"):
        model.extend(tokens[:, :6], cache)
    for block in (-1, 4):
        with pytest.raises(ValueError, match=f"no block {block} to go on from; give 0 to 3"):
            model.forward_from(model.states(tokens)[0], block)


def test_hooks_that_do_not_fit_are_refused(model, tokens):
    for block in (-1, 3):
        with pytest.raises(ValueError, match=f"a hook for block {block}; there are blocks 0 to 2 to go through"):
            model(tokens, hooks={block: print})
    with pytest.raises(ValueError, match="a hook for block 0; there are blocks 1 to 2"):
        model.forward_from(model.states(tokens)[1], 1, hooks={0: print})
    with pytest.raises(ValueError, match=r"a hook returned \(4, 1, 3, 4\) for heads \(4, 9, 3, 4\); it must"):
        model(tokens, hooks={1: lambda heads: heads[:, -1:]})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"new": 0}, "new 0, temperature 0.0 without a generator: write 1 token or more"),
        ({"new": 2, "temperature": -1.0, "generator": torch_rng(0)}, "new 2, temperature -1.0: write"),
        ({"new": 2, "temperature": 1.0}, "temperature 1.0 without a generator: write"),
        ({"new": 2, "mask": REAL.flip(1)}, "a prompt ends in padding; pad on the left"),
        ({"new": 7}, "15 tokens to read; there are positions for 14"),
    ],
)
def test_writing_that_cannot_be_is_refused(model, tokens, how, message):
    with pytest.raises(ValueError, match=message):
        model.generate(tokens, **how)
    assert model.generate(tokens, 6).shape == (4, 6)  # the last token is written and not read
