"""What states hold of the token after next, and what a draft head makes of it (C4)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stages.evidence import Outcome, in_setting
from stages.papers.mechanisms.markov_categories import method
from stages.papers.mechanisms.markov_categories.lab import (
    Lab,
    Laws,
    States,
    fit_readout,
)
from stages.papers.mechanisms.markov_categories.scores import SURPLUS, at, ranked
from stages.papers.mechanisms.markov_categories.training import Network
from stages.seeding import torch_rng

ACCEPTED, GAIN = "acceptance", "gain over a blind draft"
ORDERED, ORDERED_GAIN = "rank correlation, acceptance", "rank correlation, gain"
EXACT, EMBEDDING, BOTTLENECK = "exact laws", "embedding", "bottleneck"
STATE, NARROW = "state before the bottleneck", "behind the bottleneck"
PROJECTED = "random projection"


def readable(lab: Lab, states: States) -> float:
    """Measure the information surplus that linear heads can read from states, in nats:
    a lower bound.

    One head of H_t for each W_t predicts W_{t+1}. It is measured after other pasts than
    those fitted.
    """
    half = len(states) // 2
    later = lab.after(lab.law).transpose(0, 1)  # (W_t, contexts, W_{t+1})
    joint = (lab.mu[:, None] * lab.law).T  # (W_t, contexts)
    fitted = states[:half].mean(0).expand(lab.world.tokens, -1, -1)
    heads = fit_readout(fitted, later, joint)
    held = [method.surplus(joint, later, heads(h)) for h in states[half:]]
    return sum(held) / len(held)


def acceptance(lab: Lab, states: States, p: Laws) -> float:
    """Return the share of draft tokens W_{t+1}, drafted by a linear head on H_t, that
    the network itself accepts; p are its predictions.
    """
    half = len(states) // 2
    best = lab.world.later(2).flatten(0, -2)
    draft = fit_readout(states[:half].mean(0), best, lab.mu)
    own = p[half:].mean(0)
    shares = [accepted(lab, own, draft(h).exp()) for h in states[half:]]
    return sum(shares) / len(shares)


def accepted(
    lab: Lab,
    target: Float[Tensor, "contexts tokens"],
    draft: Float[Tensor, "contexts tokens"],
) -> float:
    """Return how often a draft of W_{t+1} survives: E sum_w min(target, draft), the
    target's W_t in between.
    """
    share = torch.minimum(lab.after(target), draft[:, None]).sum(-1)
    return float((lab.mu[:, None] * target * share).sum())


class Reading(NamedTuple):
    """What one place holds: surplus in nats, accepted drafts, and the gain in these
    above a blind draft, which knows how often tokens come and nothing else.
    """

    surplus: float
    accepted: float
    gain: float


def readings(lab: Lab, network: Network) -> dict[str, Reading]:
    """Read surplus and acceptance at every place of a network, and of the exact laws
    with the best draft.
    """
    p = lab.read(network)[1]
    blind = lab.world.known(0).expand_as(lab.law)
    base = accepted(lab, p.mean(0), blind)
    found = {}
    layers = lab.layers(network)
    names = [EMBEDDING, *(f"block {i}" for i in range(1, len(layers) - 1)), BOTTLENECK]
    for name, h in zip(names, layers, strict=True):
        share = acceptance(lab, h, p)
        found[name] = Reading(readable(lab, h), share, share - base)
    best = accepted(lab, lab.law, lab.world.later(2).flatten(0, -2))
    nothing = accepted(lab, lab.law, blind)
    found[EXACT] = Reading(lab.world.surplus(), best, best - nothing)
    return found


def score_sources(
    outcome: Outcome, found: Mapping[float, Mapping[str, Reading]]
) -> None:
    """Score, over sources of different memory, how surplus orders what drafts get
    accepted, and their gain over a blind draft.
    """
    for place in next(iter(found.values())):
        points = [found[memory][place] for memory in found]
        held = [point.surplus for point in points]
        shares = [point.accepted for point in points]
        gains = [point.gain for point in points]
        outcome.score(place, ORDERED, ranked(held, shares))
        outcome.score(place, ORDERED_GAIN, ranked(held, gains))
        for name, values in ((SURPLUS, held), (ACCEPTED, shares), (GAIN, gains)):
            outcome.curve(place, name, found, values)


def score_surplus(
    outcome: Outcome, lab: Lab, d: int, network: Network, seed: int
) -> None:
    """Score what of the surplus is left behind the bottleneck, before it, and in a
    random projection as narrow.
    """
    *_, wide, narrow = lab.layers(network)
    chance = torch_rng(seed, "projection", d)
    size = (wide.shape[-1], d)
    projection = torch.randn(size, generator=chance, dtype=torch.float64)
    places = {STATE: wide, NARROW: narrow, PROJECTED: wide @ projection}
    for name, h in places.items():
        outcome.score(name, in_setting(SURPLUS, at(d)), readable(lab, h))
