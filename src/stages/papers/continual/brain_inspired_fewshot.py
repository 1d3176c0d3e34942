"""Fast and slow weights for few-shot continual learning: a TSC-style method (our
reconstruction).

Wang, Li, Zhong & Zhu, "Few-shot Continual Learning: a Brain-inspired Approach", arXiv
2104.09034 (2021). A network learns a sequence of tasks from a few examples each. It
should keep the old tasks, and get better at the next one. Two sets of weights share the
work: fast ones hold the tasks, slow ones what generalises; each is updated with the
other.

What differs from the paper: its text was not open to us, only its abstract. It fixes
the setting, the two sets, that they depend on each other, and that consolidation takes
two steps. Every equation, network, data set and number here is our reconstruction,
built to meet these constraints; nothing can be compared with the paper's tables. All
arms are one procedure with different strengths (`Arm`): a method with one set of
weights copies its fast weights to the slow ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.evidence import Claim, Gate, Outcome, Paper, divide, in_setting
from stages.models.conv4 import Conv4, cosine_logits
from stages.models.initial import seeded
from stages.models.stacked_conv4 import (
    Weights,
    class_means,
    column,
    embed,
    features,
    few_shot,
    importance,
    per_layer,
    stack,
)
from stages.seeding import rng
from stages.training import fit, optimiser, pick_device
from stages.worlds import glyphs

WAYS, SCALE, MOMENTUM, UNSTEADY = 5, 10.0, 0.9, 1.5

# ----------------------------------------------------------------------- the base model


BASE_STEPS = 800


@cache
def base(steps: int = BASE_STEPS) -> tuple[Tensor, ...]:
    """Train Conv-4 on 64 many-shot characters; return the weights of its embedding, the
    same for every seed.

    They are trained once a process, in some 15 seconds. Alphabets 0 to 7 are used by
    nothing else.
    """
    world, device = glyphs.characters(range(8), each=8), pick_device()
    labels = torch.arange(64 * 40) % 64
    images = glyphs.write(
        world, labels, 0, unsteady=UNSTEADY, stream=("base",), device=device
    )
    order = rng(0, "base order").integers(len(labels), size=(steps, 64))
    with seeded(0, "base"):
        model = Conv4(classes=64).to(device)
    adam = optimiser(model.parameters(), "adam", 2e-3)

    def loss(step: int) -> Tensor:
        return F.cross_entropy(
            model(images[order[step]]), labels.to(device)[order[step]]
        )

    with torch.enable_grad():
        fit(loss, len(order), adam)
    return tuple(p.detach() for p in model.layers.parameters())


@cache
def base_importance(kind: str, steps: int = BASE_STEPS) -> tuple[Tensor, ...]:
    """Return the importance for the base classes, from twelve 5-way 5-shot tasks among
    them; mean 1 per layer.
    """
    weights, world = stack(base(steps), 1), glyphs.characters(range(8), each=8)
    total = [torch.zeros_like(w) for w in weights]
    for task in range(12):
        labels = 5 * task + torch.arange(25) % 5
        images = glyphs.write(
            world,
            labels,
            0,
            unsteady=UNSTEADY,
            stream=("importance",),
            device=weights[0].device,
        )
        heads = class_means(features(weights, images), (labels % 5).to(images.device))
        total = [
            a + b
            for a, b in zip(
                total, importance(weights, images, heads, kind), strict=True
            )
        ]
    return tuple(w[0] for w in per_layer(total))


# --------------------------------------------------------------------------- the method


@dataclass(frozen=True)
class Arm:
    """A way to learn a sequence: strengths of one procedure.

    Attributes:
        lr: of the embedding; 0 freezes it, and only heads learn.
        protect, pull: λ, which holds weights that old tasks need, and μ, which pulls
            the others to the slow weights.
        slow, guard: η, the rate of the slow weights, and κ, their meta-plasticity. η =
            1, κ = 0 is one set of weights.
        kind: of importance: "fisher", "mas" or "none".
        restart: throw the fast weights away after each task (Reptile); old tasks are
            then answered by the slow ones.
    """

    lr: float = 0.05
    protect: float = 0.0
    pull: float = 0.0
    slow: float = 1.0
    guard: float = 0.0
    kind: str = "none"
    restart: bool = False


def fast_step(
    fast: Weights,
    velocity: Weights,
    gradients: Sequence[Tensor],
    rate: Weights,
    holds: list,
) -> Weights:
    """Take one step of SGD with momentum, then solve for both quadratic penalties
    exactly (a proximal step).

    `rate` is the learning rate; `holds` lists, for each weight, strengths and targets
    (λΩ, f_{t-1}), (μ(1-Ω̃), s_{t-1}). However strong, a penalty cannot make the step
    overshoot: without end it puts the weight on its target. Momentum multiplies what
    the gradient does by 1/(1-m), so the penalties' rate is multiplied likewise.
    """
    moved = []
    for f, v, g, r, pairs in zip(fast, velocity, gradients, rate, holds, strict=True):
        v.mul_(MOMENTUM).add_(g)
        far = r / (1 - MOMENTUM)
        top = f - r * v + sum(far * strength * target for strength, target in pairs)
        moved.append(top / (1 + sum(far * strength for strength, _ in pairs)))
    return moved


def consolidate_fast(
    fast: Weights,
    slow: Weights,
    omega: Weights,
    heads: Tensor,
    batches: Iterable,
    arms: Sequence[Arm],
) -> tuple[Weights, Tensor]:
    """Step 1: fit tasks with the fast weights, held where old tasks need them and
    pulled to the slow weights elsewhere.

    Args:
        omega: Ω, importance of each weight for what came before.
        heads: (members, tasks, ways, features), one cosine head a task.
        batches: of (images, labels within the task, task) a step.
    """
    lr, protect, pull = (
        _values(arms, name, fast) for name in ("lr", "protect", "pull")
    )
    rate, holds = [column(lr, f) for f in fast], []
    for f, s, o in zip(fast, slow, omega, strict=True):
        free = 1 - o / column(o.flatten(1).amax(1).clamp(min=1e-20), o)  # 1 - Ω̃
        holds.append([(column(protect, f) * o, f.clone()), (column(pull, f) * free, s)])
    velocity, head_velocity = (
        [torch.zeros_like(f) for f in fast],
        torch.zeros_like(heads),
    )
    for images, labels, task in batches:
        inputs = [p.detach().requires_grad_() for p in (*fast, heads)]
        with torch.enable_grad():
            own = inputs[-1][
                :, task
            ]  # (members, n, ways, features): each image meets the head of its task
            logits = cosine_logits(embed(inputs[:-1], images)[:, :, None], own, SCALE)[
                :, :, 0
            ]
            each = F.cross_entropy(
                logits.flatten(0, 1), labels.repeat(len(arms)), reduction="sum"
            ) / len(labels)
            *gradients, to_heads = torch.autograd.grad(each, inputs)
        fast = fast_step(fast, velocity, gradients, rate, holds)
        head_velocity.mul_(MOMENTUM).add_(to_heads)
        heads = heads - Arm.lr * head_velocity
    return fast, heads


def consolidate_slow(
    fast: Weights, slow: Weights, habit: Weights, arms: Sequence[Arm]
) -> Weights:
    """Step 2: s ← s + η m (f - s), the slow weights follow the fast ones at m = 1/(1 +
    κ Ω̂ˢ).

    `habit` is Ω̂ˢ, how much each weight is settled already: by the base classes, and by
    earlier consolidations.
    """
    eta, kappa = (_values(arms, name, fast) for name in ("slow", "guard"))
    return [
        s + column(eta, s) / (1 + column(kappa, s) * h) * (f - s)
        for f, s, h in zip(fast, slow, habit, strict=True)
    ]


def _values(arms: Sequence[Arm], name: str, like: Weights) -> Float[Tensor, " members"]:
    return torch.tensor(
        [getattr(arm, name) for arm in arms], dtype=torch.float, device=like[0].device
    )


# ---------------------------------------------------------------------------- the tasks


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        tasks, shots, steps: T, K and the full-batch updates a task.
        checks: after how many tasks few-shot accuracy on new classes is measured.
        episodes: 5-way 5-shot episodes on held-out classes, by nearest class mean.
        arms: the tuned strengths by method; the joint ones are trained on all tasks at
            once.
        more_shots: other K for the TSC-style arm.
        rates: η beside the chosen one, each with and without λ, for the slider.
        base_steps: updates of the base model.
    """

    tasks: int = 8
    shots: int = 5
    steps: int = 40
    checks: tuple[int, ...] = (0, 1, 2, 4, 6, 8)
    episodes: int = 400
    arms: Mapping[str, Arm] = field(default_factory=dict)
    joint: Mapping[str, Arm] = field(default_factory=dict)
    more_shots: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    base_steps: int = BASE_STEPS


@dataclass(frozen=True)
class World:
    """Stream tasks with support and query images, and held-out classes; alphabets are
    disjoint from the base ones.
    """

    support: Float[Tensor, "tasks n 1 side side"]
    query: Float[Tensor, "tasks q 1 side side"]
    novel: Float[Tensor, "v 1 side side"]
    episodes: Int[
        Tensor, "episodes ways images"
    ]  # into `novel`; the first 5 images of each class are the support

    def labels(self, images: Tensor) -> Int[Tensor, " n"]:
        """Classes within a task, of its images."""
        return torch.arange(images.shape[1], device=images.device) % WAYS


def make_world(settings: Settings, seed: int, shots: int | None = None) -> World:
    """Draw a seed's tasks: 5 alphabets for the stream, 5 others held out; more shots
    add images to the same ones.
    """
    first, device, tasks = 8 + 10 * seed, pick_device(), settings.tasks
    stream, held = (
        glyphs.characters(range(a, a + 5), each=max(8, tasks))
        for a in (first, first + 5)
    )
    classes = torch.from_numpy(
        rng(seed, "tasks").permutation(len(stream))[: WAYS * tasks]
    )

    def draw(name: str, each: int) -> Tensor:
        order = classes.repeat(each)  # by copies, then tasks, then classes
        images = glyphs.write(
            stream, order, seed, unsteady=UNSTEADY, stream=(name,), device=device
        )
        return rearrange(images, "(k t w) ... -> t (k w) ...", t=tasks, w=WAYS)

    labels, chance = torch.arange(20 * len(held)) // 20, rng(seed, "episodes")
    novel = glyphs.write(
        held, labels, seed, unsteady=UNSTEADY, stream=("novel",), device=device
    )
    picks = [
        [
            c * 20 + chance.permutation(20)
            for c in chance.choice(len(held), WAYS, replace=False)
        ]
        for _ in range(settings.episodes)
    ]
    return World(
        draw("support", shots or settings.shots),
        draw("query", 15),
        novel,
        torch.tensor(np.array(picks)),
    )


# ----------------------------------------------------------------------- the experiment


def answers(weights: Weights, heads: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Return per-task accuracy in per cent, with the task named, and over all classes
    at once.
    """
    z = rearrange(
        features(weights, queries.flatten(0, 1)), "m (t q) f -> m t q f", t=len(queries)
    )
    truth = torch.arange(queries.shape[1], device=z.device) % WAYS
    named = (cosine_logits(z, heads).argmax(-1) == truth).float().mean(-1)
    place = truth + WAYS * torch.arange(len(queries), device=z.device)[:, None]
    together = (
        cosine_logits(z.flatten(1, 2), heads.flatten(1, 2))
        .argmax(-1)
        .unflatten(1, place.shape)
    )
    return 100 * named, 100 * (together == place).float().mean((1, 2))


@torch.no_grad()
def sequence(
    world: World, arms: Sequence[Arm], settings: Settings
) -> dict[str, Tensor]:
    """Learn the tasks one after another, all arms side by side, each from the base
    weights.

    Returns each metric by member; and under "curves" the accuracy on the tasks so far
    and on new classes, by check.
    """
    slow, many, labels = (
        stack(base(settings.base_steps), len(arms)),
        len(arms),
        world.labels(world.support),
    )
    fast, omega = [s.clone() for s in slow], _base_importance(arms, settings.base_steps)
    settled = per_layer(stack(base_importance("fisher", settings.base_steps), many))
    steps, habit, heads, learnt, old = (
        [torch.zeros_like(s) for s in slow],
        settled,
        [],
        [],
        [],
    )
    new = [few_shot(features(slow, world.novel), world.episodes)]
    again = torch.tensor([arm.restart for arm in arms], device=labels.device)
    for t, images in enumerate(world.support):
        fast = [
            torch.where(column(again, f), s, f) for f, s in zip(fast, slow, strict=True)
        ]
        start = class_means(features(fast, images), labels)[:, None]
        batches = [(images, labels, torch.zeros_like(labels))] * settings.steps
        fast, head = consolidate_fast(fast, slow, omega, start, batches, arms)
        omega = _more_importance(omega, fast, images, head[:, 0], arms)
        before, slow = slow, consolidate_slow(fast, slow, habit, arms)
        steps = [a + (s - b).abs() for a, s, b in zip(steps, slow, before, strict=True)]
        habit = [a + b for a, b in zip(per_layer(steps), settled, strict=True)]
        heads.append(head[:, 0])
        used = [
            torch.where(column(again, f), s, f) for f, s in zip(fast, slow, strict=True)
        ]
        learnt.append(answers(used, head, world.query[t : t + 1])[0][:, 0])
        if t + 1 in settings.checks:
            old.append(
                answers(used, torch.stack(heads, 1), world.query[: t + 1])[0].mean(1)
            )
            new.append(few_shot(features(slow, world.novel), world.episodes))
    trace = _judge(
        world,
        used,
        slow,
        torch.stack(heads, 1),
        torch.stack(learnt, 1),
        settings.base_steps,
    )
    rise = np.polyfit(settings.checks, torch.stack(new).cpu(), 1)[0]
    novel = few_shot(features(fast, world.novel), world.episodes)
    return trace | {
        SLOPE: rise,
        NEW_FAST: novel,
        "curves": (torch.stack(old, 1).cpu(), torch.stack(new, 1).cpu()),
    }


@torch.no_grad()
def together(
    world: World, arms: Sequence[Arm], settings: Settings, seed: int
) -> dict[str, Tensor]:
    """Learn all tasks at once from the same images, each seen as often as in the
    sequence, in as many updates.
    """
    tasks, many = world.support.shape[:2]
    weights, images = (
        stack(base(settings.base_steps), len(arms)),
        world.support.flatten(0, 1),
    )
    labels = world.labels(world.support).repeat(tasks)
    task = torch.arange(tasks, device=labels.device).repeat_interleave(many)
    order = [
        rng(seed, "joint", epoch).permutation(len(images))
        for epoch in range(settings.steps)
    ]
    order = torch.tensor(np.array(order, int).reshape(-1, many), device=labels.device)
    batches = ((images[i], labels[i], task[i]) for i in order)
    nothing = [
        torch.zeros_like(w) for w in weights
    ]  # no weight is important: the pull holds all of them
    after, heads = consolidate_fast(
        weights, weights, nothing, first_heads(weights, world), batches, arms
    )
    return _judge(world, after, after, heads, base_steps=settings.base_steps)


def first_heads(
    weights: Weights, world: World
) -> Float[Tensor, "members tasks ways f"]:
    """Return class means of every task's support images."""
    return torch.stack(
        [
            class_means(features(weights, x), world.labels(world.support))
            for x in world.support
        ],
        1,
    )


def _judge(
    world: World,
    used: Weights,
    slow: Weights,
    heads: Tensor,
    learnt: Tensor | None = None,
    base_steps: int = BASE_STEPS,
) -> dict:
    final, unnamed = answers(used, heads, world.query)
    learnt, start = (
        final if learnt is None else learnt,
        torch.cat([b.flatten() for b in base(base_steps)]),
    )
    moved = (torch.cat([w.flatten(1) for w in used], 1) - start).norm(
        dim=1
    ) / start.norm()
    return {
        OLD: final.mean(1),
        NEW: few_shot(features(slow, world.novel), world.episodes),
        LEARNT: learnt.mean(1),
        FORGETTING: (learnt - final)[:, :-1].mean(1),
        UNNAMED: unnamed,
        MOVED: 100 * moved,
        "by task": final.cpu(),
    }


def _base_importance(arms: Sequence[Arm], steps: int = BASE_STEPS) -> Weights:
    each = [
        (
            base_importance(arm.kind, steps)
            if arm.kind != "none"
            else [torch.zeros_like(w) for w in base(steps)]
        )
        for arm in arms
    ]
    return [torch.stack(parts) for parts in zip(*each, strict=True)]


def _more_importance(
    omega: Weights, fast: Weights, images: Tensor, heads: Tensor, arms: Sequence[Arm]
) -> Weights:
    """Add the finished task's importance, at mean 1 per layer, to that of the arms that
    have any (γ = 1).
    """
    for kind in {arm.kind for arm in arms} - {"none"}:
        who = [i for i, arm in enumerate(arms) if arm.kind == kind]
        for o, add in zip(
            omega,
            per_layer(importance([f[who] for f in fast], images, heads[who], kind)),
            strict=True,
        ):
            o[who] += add
    return omega


FINE, GENTLE, EWC, MAS, REPTILE, TSC, FROZEN, MEANS, JOINT, L2SP = (
    "fine-tuning",
    "gentle fine-tuning",
    "EWC",
    "MAS",
    "Reptile",
    "TSC-style",
    "frozen, heads trained",
    "frozen, class means",
    "joint",
    "joint, L2-SP",
)
NO_PULL, NO_GUARD = "no pull (μ = 0)", "no guard (κ = 0)"
NO_PROTECT, ONE_SET = "no protection (λ = 0)", "one set (η = 1)"
ACCURACY, AXES = "accuracy", ("old tasks", "new classes")
OLD, NEW = (in_setting(ACCURACY, axis) for axis in AXES)
FORGETTING, LEARNT, UNNAMED = (
    "forgetting",
    "right after learning",
    "old tasks, task not named",
)
SLOPE, MOVED, NEW_FAST = (
    "slope of few-shot accuracy",
    "distance moved",
    "new classes, by the fast weights",
)
UPDATES, IMAGES = "updates", "images in updates"


def variants(arm: Arm) -> dict[str, Arm]:
    """Return the ablations of the TSC-style arm."""
    return {
        NO_PULL: replace(arm, pull=0.0),
        NO_GUARD: replace(arm, guard=0.0),
        NO_PROTECT: replace(arm, protect=0.0),
        ONE_SET: replace(arm, slow=1.0, guard=0.0),
    }


def knob(rate: float, protected: bool) -> str:
    """Name the TSC-style arm with another slow rate, with or without protection."""
    return f"TSC-style, η = {rate:g}, λ {'as chosen' if protected else '= 0'}"


def shots(k: int) -> str:
    """Name the TSC-style arm that learns from k examples a class."""
    return f"TSC-style, {k} shots"


def run(settings: Settings, seed: int) -> Outcome:
    """Run the sequence, its ablations and knobs, the joint arms and the other numbers
    of shots for one seed.
    """
    outcome, world, arms = Outcome(), make_world(settings, seed), dict(settings.arms)
    for rate in settings.rates:
        chosen = replace(arms[TSC], slow=rate)
        arms |= {
            knob(rate, True): chosen,
            knob(rate, False): replace(chosen, protect=0.0),
        }
    different = list(dict.fromkeys(arms.values()))  # equal arms are run once
    trace = sequence(world, different, settings)
    for name, arm in arms.items():
        _score(outcome, name, trace, different.index(arm), settings, settings.shots)
    trace = together(world, list(settings.joint.values()), settings, seed)
    for i, name in enumerate(settings.joint):
        _score(outcome, name, trace, i, settings, settings.shots)
    weights = stack(base(settings.base_steps), 1)
    _score(
        outcome,
        MEANS,
        _judge(
            world,
            weights,
            weights,
            first_heads(weights, world),
            base_steps=settings.base_steps,
        ),
        0,
        settings,
        0,
    )
    for k in settings.more_shots:
        trace = sequence(make_world(settings, seed, k), [arms[TSC]], settings)
        _score(outcome, shots(k), trace, 0, settings, k)
    return outcome


def _score(
    outcome: Outcome, name: str, trace: dict, i: int, settings: Settings, k: int
) -> None:
    for metric in (OLD, NEW, LEARNT, FORGETTING, UNNAMED, MOVED, SLOPE, NEW_FAST):
        if metric in trace:
            outcome.score(name, metric, trace[metric][i])
    updates = settings.tasks * settings.steps * (k > 0)
    outcome.score(name, UPDATES, updates)
    outcome.score(name, IMAGES, updates * WAYS * k)
    outcome.curve(
        name, "accuracy by task", range(1, settings.tasks + 1), trace["by task"][i]
    )
    for axis, checks, seen in zip(
        AXES,
        (settings.checks[1:], settings.checks),
        trace.get("curves", ()),
        strict=False,
    ):
        outcome.curve(name, axis, checks, seen[i])


def tune(settings: Settings, seed: int) -> dict[str, dict[Arm, tuple[float, float]]]:
    """Return accuracy on old tasks and on new classes for nine candidates a method; run
    it with seeds from 1000 up.

    Every method then takes what is best for the mean of both.
    """
    rates, strengths = (
        [float(f"{v:.1g}") for v in np.geomspace(a, b, 9)]
        for a, b in ((5e-4, 0.2), (1e-4, 1.0))
    )
    tsc = Arm(slow=0.2, guard=1.0, kind="fisher")
    tried = {
        GENTLE: [Arm(lr=r) for r in rates],
        EWC: [Arm(protect=s, kind="fisher") for s in strengths],
        MAS: [Arm(protect=s, kind="mas") for s in strengths],
        REPTILE: [
            Arm(slow=s, restart=True)
            for s in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
        ],
        TSC: [
            replace(tsc, protect=p, pull=m)
            for p in strengths[5:8]
            for m in strengths[5:8]
        ],
        JOINT: [Arm(lr=r) for r in rates],
        L2SP: [Arm(pull=s) for s in strengths],
    }
    world, found = make_world(settings, seed), {}
    for name, arms in tried.items():
        joint = name in (JOINT, L2SP)
        trace = (
            together(world, arms, settings, seed)
            if joint
            else sequence(world, arms, settings)
        )
        found[name] = {
            arm: (float(trace[OLD][i]), float(trace[NEW][i]))
            for i, arm in enumerate(arms)
        }
    return found


_GAIN = "observed (abstract); numbers not found, the margin of 1 point is our choice"
_BOTH = "two sets disentangle two goals (abstract); numbers not found"
_STEPS = "two consolidation steps are proposed (abstract); ablations not found"

_COMPARISONS = (
    Claim(
        "C1",
        "TSC-style fast weights know all tasks seen better than training on all of them"
        " at once.",
        OLD,
        TSC,
        JOINT,
        margin=1.0,
        reported="better than joint training (abstract); numbers not found",
    ),
    Claim(
        "C1b",
        "They also do when joint training is pulled to the base weights.",
        OLD,
        TSC,
        L2SP,
        margin=1.0,
        reported="not found; the control is ours",
        origin="ours",
    ),
    Claim(
        "C2",
        "Elastic weight consolidation, tuned, does not prevent the loss on new classes"
        " that few-shot tasks in sequence bring.",
        NEW,
        MEANS,
        EWC,
        margin=1.0,
        reported=_GAIN,
    ),
    Claim(
        "C3a",
        "The slow weights get better at new classes with every task.",
        SLOPE,
        TSC,
        reported=(
            "substantially improved from incoming tasks (abstract); numbers not found"
        ),
    ),
    Claim(
        "C3b",
        "They do so faster with 20 examples a class than with 5.",
        SLOPE,
        shots(20),
        TSC,
        reported="substantially improved from incoming examples (abstract)",
    ),
    *(
        Claim(
            f"C4{letter}",
            f"Two sets of weights beat one, {name}, on old tasks and on new classes"
            " alike.",
            ACCURACY,
            TSC,
            name,
            everywhere=AXES,
            reported=_BOTH,
        )
        for letter, name in zip(
            "abcde", (GENTLE, EWC, MAS, REPTILE, FROZEN), strict=True
        )
    ),
    *(
        Claim(
            f"C5{letter}",
            f"The full method beats the one with {name}, on {axis}.",
            in_setting(ACCURACY, axis),
            TSC,
            name,
            reported=_STEPS,
        )
        for letter, name, axis in zip(
            "abcd", (NO_PULL, NO_GUARD, NO_PROTECT, ONE_SET), AXES * 2, strict=True
        )
    ),
)

CLAIMS, ALSO = divide(_COMPARISONS, "C1", "C3a", "C4a", "C5a")
GATES = (
    Gate(
        "fine-tuning on few-shot tasks in sequence costs accuracy on new classes",
        MEANS,
        NEW,
        minus=FINE,
        least=1.0,
    ),
)

_TUNED = Arm(slow=0.2, guard=1.0, protect=0.1, pull=0.03, kind="fisher")
_ARMS = {
    FINE: Arm(),
    GENTLE: Arm(lr=0.0005),
    EWC: Arm(protect=0.3, kind="fisher"),
    MAS: Arm(protect=0.3, kind="mas"),
    REPTILE: Arm(slow=0.1, restart=True),
    TSC: _TUNED,
    FROZEN: Arm(lr=0.0),
}
_SETTINGS = Settings(arms=_ARMS, joint={JOINT: Arm(lr=0.01), L2SP: Arm(pull=0.01)})

PAPER = Paper(
    slug="continual/brain_inspired_fewshot",
    title="Few-shot Continual Learning: a Brain-inspired Approach",
    arxiv="2104.09034",
    year=2021,
    bibkey="wang2021fewshot",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    profiles={
        "probe": replace(
            _SETTINGS,
            base_steps=2,
            tasks=2,
            steps=3,
            checks=(0, 2),
            episodes=10,
            arms=_ARMS | variants(_TUNED),
            more_shots=(20,),
            rates=(0.5,),
        ),
        "quick": replace(
            _SETTINGS,
            checks=(0, 4, 8),
            episodes=200,
            arms={name: _ARMS[name] for name in (FINE, EWC, REPTILE, TSC, FROZEN)},
        ),
        "full": replace(
            _SETTINGS,
            arms=_ARMS | variants(_TUNED),
            more_shots=(1, 20),
            rates=(0.0, 0.1, 0.2, 0.5, 1.0),
        ),
    },
    run=run,
)
