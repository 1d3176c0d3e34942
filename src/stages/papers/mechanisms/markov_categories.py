"""A language model's step as composed kernels: what its states must know, may forget,
and come to look like.

Zhang, "A Markov Categorical Framework for Language Modeling", arXiv 2507.19247 (v2,
2025; v5, 2026). The paper proves and measures nothing; here its statements meet a
source whose laws are known exactly. Equations and definitions are numbered as in v2;
the main theorem (7.6) was weakened in later versions.

What differs from the paper: there is no experiment to differ from. World, networks,
objectives and margins are ours. What holds by construction (prop. 4.2, th. 5.1, the
chain rule, the rank bound, J = ‖E h g‖²) is tested, not claimed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from stages.evidence import Claim, Outcome, Paper, divide
from stages.evidence.claims import in_setting
from stages.models import GPT, seeded
from stages.papers.mechanisms.common.process_lab import (
    BHATTACHARYYA,
    EPSILONS,
    LINEAR,
    LOG_RATIO,
    RANDOM,
    REAL,
    SURFACE,
    Lab,
    UnitHead,
    Whiten,
    acceptance,
    accepted,
    canonical,
    dirichlet_energy,
    fit_readout,
    free_states,
    moves,
    pullback_metric,
    surplus,
)
from stages.seeding import torch_rng
from stages.training import cosine, effective_rank, fit, optimiser
from stages.worlds.process import KERNELS, draw

# -------------------------------------------------------------- objectives and networks

NLL, UNTRAINED, SHUFFLED = "next-token NLL", "untrained", "shuffled targets"
UNIT, UNIT_UNTRAINED = "theorem's assumptions", "theorem's assumptions, untrained"
BRIER, SMOOTHED, FOCAL, HINGE = "Brier", "label smoothing", "focal loss", "hinge loss"
SQUARED, CONTRASTIVE = "squared error", "spectral contrastive"
FREE, FREE_UNIT = "NLL, free states", "theorem's assumptions, free states"


def brier(outputs: Float[Tensor, "n tokens"], targets: Int[Tensor, " n"]) -> Tensor:
    """Return the mean squared distance of the predicted law from the token that came: a
    proper score.
    """
    return squared(5 * outputs.softmax(-1), targets)


def squared(outputs: Float[Tensor, "n tokens"], targets: Int[Tensor, " n"]) -> Tensor:
    """Return the mean squared distance of the outputs, a fifth of them, from the token
    that came.

    Probabilities of 24 tokens are small. Outputs as large as a head's at the start
    would first be pushed to zero, and head and states with them; that is a saddle.
    """
    return (outputs / 5 - F.one_hot(targets, outputs.shape[-1])).square().sum(-1).mean()


def focal(
    outputs: Float[Tensor, "n tokens"], targets: Int[Tensor, " n"], gamma: float = 2.0
) -> Tensor:
    """Return the mean of -(1 - p)^gamma log p, p the probability of the token that
    came.
    """
    log_p = outputs.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def spectral_contrastive(h: Float[Tensor, "n d"], targets: Int[Tensor, " n"]) -> Tensor:
    """Return -2 E <h, h+> + E <h, h'>^2; h and h+ have the same next token, h' is any
    other, all less their mean.
    """
    h = h - h.mean(0)
    counts = torch.bincount(targets).clamp(min=2).to(h)
    sums = h.new_zeros(len(counts), h.shape[1]).index_add(0, targets, h)
    own = h.new_zeros(len(counts)).index_add(0, targets, h.square().sum(1))
    alike = (sums.square().sum(1) - own) / (
        counts - 1
    )  # a state is no partner of itself
    return -2 * alike.sum() / len(h) + (h.T @ h / len(h)).square().sum()


OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    NLL: F.cross_entropy,
    UNIT: F.cross_entropy,
    SHUFFLED: F.cross_entropy,
    BRIER: brier,
    SMOOTHED: partial(F.cross_entropy, label_smoothing=0.1),
    FOCAL: focal,
    HINGE: F.multi_margin_loss,
    SQUARED: squared,
}


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        world: what `process.draw` is given beside the seed.
        arms: by method, the widths d of the bottleneck at which it is trained; `rates`:
            Adam's, by method.
        memories: of the processes among which the surplus varies (C4).
        steps, batch, length: updates, sequences in each, tokens that a sequence
            predicts. No token is seen twice.
        width, depth: of the encoder.
        pasts: how many random pasts a context is read after; readouts are fitted on the
            first half of them.
        watched: checkpoints of a training, the start included; they are read after half
            of the pasts.
    """

    world: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    memories: tuple[float, ...] = ()
    steps: int = 1000
    batch: int = 64
    length: int = 12
    width: int = 32
    depth: int = 1
    pasts: int = 4
    watched: int = 12


def make_model(method: str, d: int, tokens: int, settings: Settings, seed: int) -> GPT:
    """Make an encoder with a linear bottleneck: `head[0]` maps to states h (no norm
    after it), `head[1]` to logits.

    All methods and all d of a seed start from the same encoder. The network's own
    LayerNorm stands before the bottleneck, so the head is linear in h and
    `pullback_metric` is exact.
    """
    with seeded(seed, "encoder"):
        model = GPT(
            tokens,
            settings.width,
            settings.depth,
            4,
            settings.length,
            head=nn.Identity(),
            norm=True,
        )
    with seeded(seed, "head", d):
        into, out = nn.Linear(settings.width, d), nn.Linear(d, tokens, bias=False)
    if (
        method == SQUARED
        # logits have no zero, probabilities do: a bias makes the optimum the *centred*
        # PCA of p
    ):
        out.bias = nn.Parameter(torch.zeros(tokens))
    if method in (UNIT, UNIT_UNTRAINED):
        unit = UnitHead(d, tokens, bias=False)
        unit.weight, into, out = out.weight, nn.Sequential(into, Whiten(d)), unit
    model.head = nn.Sequential(into, out)
    return model


def rows(model: GPT) -> Float[Tensor, "tokens d"]:
    """Return the head's matrix W, whatever holds it, in double precision."""
    out = model.head[1]
    weight = (
        F.normalize(out.weight, dim=-1) if isinstance(out, UnitHead) else out.weight
    )
    return weight.detach().double()


def train(
    method: str,
    d: int,
    lab: Lab,
    settings: Settings,
    seed: int,
    watch: Callable[[int, GPT], None] | None = None,
) -> GPT:
    """Train a network on fresh sequences, the same for all methods; call `watch` at
    checkpoints with steps taken.
    """
    model, steps = (
        make_model(method, d, lab.world.tokens, settings, seed),
        settings.steps,
    )
    data = lab.world.sample(steps * settings.batch, settings.length + 1, seed).view(
        steps, settings.batch, -1
    )
    shuffle, watched = (
        torch_rng(seed, "shuffle", d),
        checkpoints(settings) if watch else (),
    )

    def loss(step: int) -> Tensor:
        x, y = data[step, :, :-1], data[step, :, 1:].flatten()
        if method == SHUFFLED:
            y = y[torch.randperm(len(y), generator=shuffle)]
        h = model.head[0](model.extend(x)[0])
        if method == CONTRASTIVE:
            return spectral_contrastive(h.flatten(0, 1), y)
        return OBJECTIVES[method](model.head[1](h).flatten(0, 1), y)

    def look(step: int) -> None:
        if step + 1 in watched:
            watch(step + 1, model.eval())
            model.train()

    look(-1)
    adam = optimiser(
        model.parameters(), "adam", settings.rates[method]
    )  # no weight decay: it would shrink directions
    fit(
        loss,
        steps,
        adam,
        schedule=cosine(steps, warmup=max(1, steps // 20)),
        after_step=look,
    )
    return model.eval()


def checkpoints(settings: Settings) -> list[int]:
    """Return the steps taken at the checkpoints, none to all, denser at the start."""
    return sorted(
        {round(x) - 1 for x in np.geomspace(1, settings.steps + 1, settings.watched)}
    )


# ----------------------------------------------------------------------- the experiment

RISE, PARTIAL, LEAD, CKA = (
    "rise in training",
    "partial alignment",
    "lead over the surface",
    "alignment",
)
DIVERGENCE, ENTROPY, EXCESS, GAP = (
    "KL to truth",
    "model entropy",
    "entropy excess",
    "entropy gap",
)
TOGETHER, SURPLUS, ACCEPTED = "gap falls with KL", "surplus", "acceptance"
GAIN, EXACT = "gain over a blind draft", "exact laws"
ORDERED, POOLED = (
    "rank correlation, processes",
    "rank correlation, processes and layers",
)
ORDERED_GAIN, POOLED_GAIN = f"{ORDERED}, gain", f"{POOLED}, gain"
SLOPE, AGREES = "slope less one", "correlation at full length"
IDLE, IDLE_FREE = "share of rank idle", "share of rank idle, whitened"
ENERGY, TOP, BOTTOM, TOP_UNTRAINED = (
    "Dirichlet energy",
    "top directions",
    "bottom directions",
    "top, untrained",
)
STATE, NARROW, PROJECTED = (
    "state before the bottleneck",
    "behind the bottleneck",
    "random projection",
)
PCA = {LINEAR: "PCA of p", BHATTACHARYYA: "PCA of √p", LOG_RATIO: "PCA of log p"}
STARTS = {NLL: UNTRAINED, UNIT: UNIT_UNTRAINED}
LAWLESS = (SQUARED, CONTRASTIVE)  # their outputs are no logits
COURSES = (4, 16)  # the widths at which trainings are watched
EMBEDDING, BOTTLENECK = "embedding", "bottleneck"


def make_lab(settings: Settings, seed: int, memory: float = 1.0) -> Lab:
    """Draw the process of a seed."""
    return Lab(
        draw(seed, **settings.world, memory=memory),
        settings.pasts,
        settings.length,
        seed,
    )


def at(d: int) -> str:
    """Name a bottleneck's width as a setting."""
    return f"d={d}"


def layers(settings: Settings) -> list[str]:
    """Name the places where states are read, from the first to the last."""
    return [
        EMBEDDING,
        *(f"block {i}" for i in range(1, settings.depth + 1)),
        BOTTLENECK,
    ]


def overlap_of(kernel: str) -> str:
    """Name the overlap with a kernel as a metric."""
    return f"overlap, {kernel}"


def run(settings: Settings, seed: int) -> Outcome:
    """Train all arms on one process and, for C4, networks on its relatives with less
    memory.
    """
    outcome, lab = Outcome(), make_lab(settings, seed)
    outcome.exhibits["lab"] = lab
    _judge_world(
        outcome, lab, sorted({d for dims in settings.arms.values() for d in dims})
    )
    for method, d in (
        (method, d) for method, dims in settings.arms.items() for d in dims
    ):
        seen: dict[int, tuple[Tensor, Tensor]] = {}

        def watch(step: int, model: GPT, seen: dict = seen) -> None:
            seen[step] = tuple(
                x.mean(0) for x in lab.read(model, max(1, settings.pasts // 2))
            )

        model = train(method, d, lab, settings, seed, watch if d in COURSES else None)
        start = make_model(method, d, lab.world.tokens, settings, seed).eval()
        _judge(outcome, lab, method, d, model)
        if seen:
            _judge_course(outcome, lab, method, d, seen)
        if method in STARTS:
            _judge(outcome, lab, STARTS[method], d, start)
        if method == NLL:
            _judge_geometry(outcome, lab, d, model, start, seed)
            _judge_surplus(outcome, lab, d, model, seed)
    if settings.memories:
        _judge_processes(outcome, settings, seed)
    return outcome


def _judge_world(outcome: Outcome, lab: Lab, dims: Iterable[int]) -> None:
    """Score what is known of the process, and the explicit solutions: spectral ones,
    and states free of a network.
    """
    world = lab.world
    for name, read in (("unigram", 0), ("bigram", 1), ("truth", None)):
        outcome.score(name, ENTROPY, world.entropy(read))
    outcome.score("truth", SURPLUS, world.surplus())
    for d in dims:
        for kernel, method in PCA.items():
            states = lab.spectra[kernel][1][:, :d] / lab.root
            readout = fit_readout(states, lab.law, lab.mu)
            outcome.score(
                method,
                in_setting(DIVERGENCE, at(d)),
                lab.divergence(readout(states).exp()[None]),
            )
            _judge_overlaps(outcome, lab, method, d, states)
        for method in (FREE, FREE_UNIT):
            free, p = free_states(lab.law, lab.mu, d, white=method == FREE_UNIT)
            outcome.score(
                method, in_setting(DIVERGENCE, at(d)), lab.divergence(p[None])
            )
            _judge_overlaps(outcome, lab, method, d, free)


def _judge_overlaps(
    outcome: Outcome, lab: Lab, method: str, d: int, h: Tensor
) -> dict[str, float]:
    """Score the overlap of states' subspace with each kernel's."""
    found = {kernel: lab.overlap(h, kernel) for kernel in KERNELS}
    for kernel, value in found.items():
        outcome.score(method, in_setting(overlap_of(kernel), at(d)), value)
        if method in STARTS:  # once more, with the kernels as what is compared
            outcome.score(kernel, in_setting(f"overlap of {method}", at(d)), value)
    return found


def _judge(outcome: Outcome, lab: Lab, method: str, d: int, model: GPT) -> None:
    """Score what a network's states resemble, and what it predicts."""
    (h, p), here, true = lab.read(model), at(d), lab.world.entropy()
    found = _judge_overlaps(outcome, lab, method, d, h.mean(0))
    cka, rest = lab.aligned(h.mean(0))
    outcome.score(method, in_setting(CKA, here), cka)
    outcome.score(method, in_setting(PARTIAL, here), rest)
    outcome.score(method, in_setting(LEAD, here), found[LINEAR] - found[SURFACE])
    if method not in LAWLESS:
        entropy = lab.entropy(p)
        outcome.score(method, in_setting(DIVERGENCE, here), lab.divergence(p))
        outcome.score(method, in_setting(ENTROPY, here), entropy)
        outcome.score(method, in_setting(EXCESS, here), entropy - true)
        outcome.score(method, in_setting(GAP, here), abs(entropy - true))


def _judge_course(
    outcome: Outcome,
    lab: Lab,
    method: str,
    d: int,
    seen: Mapping[int, tuple[Tensor, Tensor]],
) -> None:
    """Keep the curves of a training, and score how they go together."""
    here = at(d)
    for kernel in KERNELS:
        line = [lab.overlap(h, kernel) for h, _ in seen.values()]
        outcome.curve(method, in_setting(overlap_of(kernel), here), seen, line)
        if kernel == LINEAR:
            outcome.score(method, in_setting(RISE, here), _ranked(seen, line))
    if method not in LAWLESS:
        apart = [lab.divergence(p[None]) for _, p in seen.values()]
        excess = [lab.entropy(p[None]) - lab.world.entropy() for _, p in seen.values()]
        outcome.curve(method, in_setting(DIVERGENCE, here), seen, apart)
        outcome.curve(method, in_setting(EXCESS, here), seen, excess)
        outcome.score(
            method, in_setting(TOGETHER, here), _ranked(apart, map(abs, excess))
        )


def _ranked(x: Iterable[float], y: Iterable[float]) -> float:
    """Return Spearman's correlation, 0 where one of the two does not vary."""
    x, y = list(x), list(y)
    return (
        float(spearmanr(x, y).statistic) if min(len(set(x)), len(set(y))) > 1 else 0.0
    )


def _judge_geometry(
    outcome: Outcome, lab: Lab, d: int, model: GPT, start: GPT, seed: int
) -> None:
    """Score the pullback metric of a trained head (C5), and energies along its
    directions, with the start's (C6).
    """
    here = at(d)
    for name, network in ((NLL, model), (UNTRAINED, start)):
        h, w, bound = (
            lab.read(network)[0].mean(0),
            rows(network),
            min(d, lab.world.tokens - 1),
        )
        z, v, b = canonical(h, w, lab.mu)
        p = (z @ v.T + b).softmax(-1)
        for metric, head in ((IDLE, w), (IDLE_FREE, v)):
            mean = torch.einsum("n,nij->ij", lab.mu, pullback_metric(p, head))
            outcome.score(
                name, in_setting(metric, here), 1 - float(effective_rank(mean)) / bound
            )
        phi, few = z @ torch.linalg.eigh(mean).eigenvectors.flip(1), max(1, d // 4)
        for kernel in KERNELS:
            energy = dirichlet_energy(phi, lab.world.similarity(kernel), lab.mu)
            ends = (
                {TOP: energy[:few], BOTTOM: energy[-few:]}
                if name == NLL
                else {TOP_UNTRAINED: energy[:few]}
            )
            for where, values in ends.items():
                outcome.score(
                    where,
                    in_setting(in_setting(ENERGY, kernel), here),
                    float(values.mean()),
                )
        if name == NLL:
            for kind, (true, predicted) in moves(z, v, b, lab.mu, seed).items():
                slopes = (true * predicted).sum(1) / predicted.square().sum(1)
                agree = [
                    float(torch.corrcoef(torch.stack(pair))[0, 1])
                    for pair in zip(true, predicted, strict=True)
                ]
                outcome.curve(
                    kind, in_setting("slope", here), EPSILONS, slopes.tolist()
                )
                outcome.curve(kind, in_setting("correlation", here), EPSILONS, agree)
                outcome.score(
                    NLL, in_setting(in_setting(SLOPE, here), kind), float(slopes[0]) - 1
                )  # the shortest
                outcome.score(kind, in_setting(AGREES, here), agree[-1])


def _judge_surplus(outcome: Outcome, lab: Lab, d: int, model: GPT, seed: int) -> None:
    """Score what of the surplus is left behind the bottleneck, before it, and in a
    random projection as narrow.
    """
    *_, wide, narrow = lab.layers(model)
    projection = torch.randn(
        wide.shape[-1],
        d,
        generator=torch_rng(seed, "projection", d),
        dtype=torch.float64,
    )
    for name, h in ((STATE, wide), (NARROW, narrow), (PROJECTED, wide @ projection)):
        outcome.score(name, in_setting(SURPLUS, at(d)), surplus(lab, h))


def _judge_processes(outcome: Outcome, settings: Settings, seed: int) -> None:
    """Train on processes that differ in memory alone; compare surplus and acceptance,
    read at every layer (C4).

    The gain is the acceptance above that of a blind draft, which knows how often tokens
    come and nothing else.
    """
    found: dict[str, list] = {}
    for memory in settings.memories:
        lab = make_lab(settings, seed, memory)
        model = train(NLL, max(settings.arms[NLL]), lab, settings, seed)
        p, blind = lab.read(model)[1], lab.world.known(0).expand_as(lab.law)
        base, best = accepted(lab, p.mean(0), blind), lab.world.later(2).flatten(0, -2)
        for layer, h in zip(layers(settings), lab.layers(model), strict=True):
            share = acceptance(lab, h, p)
            found.setdefault(layer, []).append((surplus(lab, h), share, share - base))
        exact = accepted(lab, lab.law, best)
        found.setdefault(EXACT, []).append(
            (lab.world.surplus(), exact, exact - accepted(lab, lab.law, blind))
        )
    for layer, points in found.items():
        columns = dict(
            zip((SURPLUS, ACCEPTED, GAIN), zip(*points, strict=True), strict=True)
        )
        outcome.score(layer, ORDERED, _ranked(columns[SURPLUS], columns[ACCEPTED]))
        outcome.score(layer, ORDERED_GAIN, _ranked(columns[SURPLUS], columns[GAIN]))
        for name, values in columns.items():
            outcome.curve(layer, name, settings.memories, values)
    pooled = [point for layer in layers(settings) for point in found[layer]]
    outcome.score(
        NLL, POOLED, _ranked(*zip(*((s, a) for s, a, _ in pooled), strict=True))
    )
    outcome.score(
        NLL, POOLED_GAIN, _ranked(*zip(*((s, g) for s, _, g in pooled), strict=True))
    )


_NONE = "theorems only, no experiment; direction from the text, the margin is ours"
_V2 = (
    "th. 7.6 (v2): leading eigenspace of the similarity operator; weakened in v5; no"
    " number"
)
_BELOW = tuple(at(d) for d in (2, 4, 8))  # below the rank of every kernel of interest
_C1 = in_setting(overlap_of(LINEAR), at(4))

_COMPARISONS = (
    Claim(
        "C1",
        "Next-token training turns the states' subspace to the leading eigenspace of"
        " predictive similarity.",
        _C1,
        NLL,
        UNTRAINED,
        margin=0.1,
        reported=_V2,
    ),
    Claim(
        "C1b",
        "Training on shuffled next tokens does not.",
        _C1,
        NLL,
        SHUFFLED,
        margin=0.1,
        reported=_V2,
    ),
    Claim(
        "C1c",
        "The overlap rises as training goes on.",
        in_setting(RISE, at(4)),
        NLL,
        reported=_V2,
    ),
    Claim(
        "C1d",
        "What contexts look like does not explain it: the gain is there with the"
        " surface kernel held fixed.",
        in_setting(PARTIAL, at(4)),
        NLL,
        UNTRAINED,
        margin=0.1,
        reported="not found; the control is ours",
        origin="ours",
    ),
    Claim(
        "C1e",
        "States are nearer to predictive similarity than to surface similarity.",
        in_setting(LEAD, at(4)),
        NLL,
        margin=0.1,
        reported="not found; the control is ours",
        origin="ours",
    ),
    Claim(
        "C1f",
        "The gain over the untrained network is there at every d below the rank.",
        overlap_of(LINEAR),
        NLL,
        UNTRAINED,
        margin=0.1,
        everywhere=_BELOW,
        reported=_V2,
    ),
    Claim(
        "C1g",
        "It is there under the theorem's own assumptions: g of length one, whitened h.",
        overlap_of(LINEAR),
        UNIT,
        UNIT_UNTRAINED,
        margin=0.1,
        everywhere=_BELOW,
        reported=_V2,
    ),
    Claim(
        "C2a",
        "Of the operators, <p, p'> fits better than the log-ratios' one.",
        f"overlap of {NLL}",
        LINEAR,
        LOG_RATIO,
        everywhere=_BELOW,
        reported=_V2,
    ),
    Claim(
        "C2b",
        "The Bhattacharyya kernel fits better than the log-ratios' one.",
        f"overlap of {NLL}",
        BHATTACHARYYA,
        LOG_RATIO,
        everywhere=_BELOW,
        reported=_V2,
    ),
    Claim(
        "C2c",
        "Under the theorem's assumptions, <p, p'> fits better than the log-ratios'"
        " one.",
        f"overlap of {UNIT}",
        LINEAR,
        LOG_RATIO,
        everywhere=_BELOW,
        reported=_V2,
    ),
    Claim(
        "C3a",
        "With NLL, the error of the model's mean entropy falls as its KL to the truth"
        " does.",
        in_setting(TOGETHER, at(16)),
        NLL,
        margin=0.5,
        reported="th. 5.2: convergence; no number",
    ),
    Claim(
        "C3b",
        "Label smoothing leaves the entropy too high.",
        in_setting(EXCESS, at(16)),
        SMOOTHED,
        NLL,
        margin=0.05,
        reported=_NONE,
    ),
    Claim(
        "C3c",
        "Focal loss leaves it too high.",
        in_setting(EXCESS, at(16)),
        FOCAL,
        NLL,
        margin=0.05,
        reported=_NONE,
    ),
    Claim(
        "C3d",
        "A hinge loss leaves it further from the truth than NLL.",
        in_setting(GAP, at(16)),
        NLL,
        HINGE,
        margin=0.05,
        lower_is_better=True,
        reported=_NONE,
    ),
    Claim(
        "C3e",
        "Brier's score, which is proper, is as near to the truth as NLL.",
        in_setting(GAP, at(16)),
        BRIER,
        NLL,
        margin=0.05,
        kind="noninferiority",
        lower_is_better=True,
        reported=_NONE,
    ),
    Claim(
        "C4a",
        "Among processes, the surplus in the final state rank-orders what a draft head"
        " on it gets accepted.",
        ORDERED,
        BOTTLENECK,
        reported="sec. 4: surplus is the resource of parallel drafts; no number",
    ),
    Claim(
        "C4b",
        "So it does among processes and layers together.",
        POOLED,
        NLL,
        reported="sec. 4: surplus is the resource of parallel drafts; no number",
    ),
    Claim(
        "C4c",
        "A narrow head makes the network discard surplus that the state before the"
        " bottleneck has.",
        in_setting(SURPLUS, at(4)),
        STATE,
        NARROW,
        margin=0.02,
        reported="not found; the theory allows it",
    ),
    Claim(
        "C5a",
        "For short moves the pullback metric predicts the KL with slope 1.",
        in_setting(SLOPE, at(16)),
        NLL,
        margin=0.05,
        kind="equivalence",
        everywhere=(RANDOM, REAL),
        reported="sec. 6: a second-order expansion",
    ),
    Claim(
        "C5b",
        "It still correlates with the KL over whole differences between states.",
        in_setting(AGREES, at(16)),
        REAL,
        margin=0.5,
        reported=_NONE,
    ),
    Claim(
        "C5c",
        "The metric is anisotropic: its effective rank is less than half of what the"
        " bound allows.",
        in_setting(IDLE, at(16)),
        NLL,
        margin=0.5,
        reported="sec. 6: few directions carry most; no number",
    ),
    Claim(
        "C5d",
        "So it is in whitened coordinates, which do not depend on how the model is"
        " written.",
        in_setting(IDLE_FREE, at(16)),
        NLL,
        margin=0.5,
        reported="not found; the control is ours",
        origin="ours",
    ),
    Claim(
        "C6a",
        "Along the metric's top directions states vary with predictive similarity more"
        " than along its bottom.",
        in_setting(ENERGY, LINEAR) + f" [{at(8)}]",
        TOP,
        BOTTOM,
        lower_is_better=True,
        reported="prop. 7.4: small along sensitive directions; no number",
    ),
    Claim(
        "C6b",
        "Energy along the top directions falls in training.",
        in_setting(ENERGY, LINEAR) + f" [{at(8)}]",
        TOP,
        TOP_UNTRAINED,
        lower_is_better=True,
        reported="prop. 7.4: small along sensitive directions; no number",
    ),
    Claim(
        "C6c",
        "The first holds with the Bhattacharyya kernel too.",
        in_setting(ENERGY, BHATTACHARYYA) + f" [{at(8)}]",
        TOP,
        BOTTOM,
        lower_is_better=True,
        reported="prop. 7.4: small along sensitive directions; no number",
    ),
    Claim(
        "C6d",
        "And so does the second.",
        in_setting(ENERGY, BHATTACHARYYA) + f" [{at(8)}]",
        TOP,
        TOP_UNTRAINED,
        lower_is_better=True,
        reported="prop. 7.4: small along sensitive directions; no number",
    ),
)

CLAIMS, ALSO = divide(_COMPARISONS, "C1", "C2a", "C3a", "C4a", "C5a", "C6a")

_RATES = dict.fromkeys((*OBJECTIVES, CONTRASTIVE), 1e-2)
_FULL = Settings(
    arms={
        NLL: (2, 4, 8, 16),
        UNIT: (2, 4, 8, 16),
        SHUFFLED: (4,),
        SQUARED: (4,),
        CONTRASTIVE: (4,),
        BRIER: (16,),
        SMOOTHED: (16,),
        FOCAL: (16,),
        HINGE: (16,),
    },
    rates=_RATES,
    memories=tuple(i / 7 for i in range(8)),
)

PAPER = Paper(
    slug="mechanisms/markov_categories",
    title="A Markov Categorical Framework for Language Modeling",
    arxiv="2507.19247",
    year=2025,
    bibkey="zhang2025markov",
    claims=CLAIMS,
    also=ALSO,
    profiles={
        "probe": replace(
            _FULL,
            world={"tokens": 8, "classes": (2, 4)},
            steps=6,
            batch=8,
            length=4,
            pasts=2,
            watched=4,
            memories=(0.0, 0.5, 1.0),
        ),
        "quick": replace(
            _FULL,
            arms={NLL: (4, 16), UNIT: (4,), SHUFFLED: (4,)},
            memories=(),
            steps=500,
        ),
        "full": _FULL,
    },
    run=run,
)
