"""The arms: how the large network comes to be in each, and what a profile fixes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from stages.models import GPT, seeded
from stages.papers.scaling.multilevel.method import (
    build,
    decoalesce,
    double_depth,
    interpolate,
    v_cycle,
)
from stages.papers.scaling.multilevel.training import (
    Account,
    Schedule,
    held_out_loss,
    training_flops,
)
from stages.training import pick_device
from stages.worlds import tinytext

SCRATCH = "from scratch"
CONTROL = "small, then grown"
STACKED = "depth stacking"


def cycle(alpha: float) -> str:
    """Name the V-cycle of an interpolation weight."""
    return "growth only" if alpha == 1 else f"V-cycle, α = {alpha:g}"


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        width, depth, heads, length: of the large network; the small one has half of the
            first three.
        batch, tokens, test: windows of a batch, tokens of the training text, windows to
            measure the loss on.
        updates: of the large network alone, from scratch, 100 % of the FLOPs.
        initial, small: updates of the large network before it is coalesced, and of the
            small one.
        stacked: updates of the network of half the depth.
        rate, small_rate, stacked_rate: AdamW's, chosen by size on tuning seeds.
        tail: the share of a budget over which the rate falls.
        scratch_ends, cycle_ends: budgets, as shares, at which from scratch and the
            V-cycle with α = 0.5 end; the other arms end at 1.
        alphas: interpolation weights.
        watched, shown: how often a curve has a point, on how many windows.
    """

    width: int = 48
    depth: int = 4
    heads: int = 4
    length: int = 32
    batch: int = 16
    tokens: int = 400_000
    test: int = 600
    updates: int = 2000
    initial: int = 100
    small: int = 1000
    stacked: int = 1000
    rate: float = 4e-3
    small_rate: float = 8e-3
    stacked_rate: float = 4e-3
    tail: float = 0.2
    scratch_ends: tuple[float, ...] = (0.6, 0.8, 1.0)
    cycle_ends: tuple[float, ...] = (0.4, 0.5, 0.6, 0.8, 0.9, 1.0, 1.1)
    alphas: tuple[float, ...] = (0.25, 0.5, 1.0)
    watched: int = 100
    shown: int = 200

    @property
    def large(self) -> dict[str, int]:
        """Width, depth and heads of the large network."""
        return {"width": self.width, "depth": self.depth, "heads": self.heads}

    def new(self, seed: int, **sizes: int) -> GPT:
        """Make a network; those of one seed and size start alike."""
        with seeded(seed, "network", *sizes.values()):
            model = GPT(len(tinytext.vocabulary()), length=self.length, **sizes)
        return model.to(pick_device())


Start = Callable[[Settings, int, Account], tuple[GPT, float | None]]


@dataclass(frozen=True)
class Arm:
    """How the large network comes to be, and the budgets at which it ends."""

    start: Start
    ends: tuple[float, ...] = (1.0,)


def from_scratch(
    settings: Settings, seed: int, account: Account
) -> tuple[GPT, float | None]:
    """Start with a new large network; there is no small one."""
    return settings.new(seed, **settings.large), None


def from_cycle(
    settings: Settings, seed: int, account: Account, alpha: float
) -> tuple[GPT, float | None]:
    """Start with what the V-cycle makes of a new large network."""
    large = settings.new(seed, **settings.large)
    smalls = []

    def train(network: GPT, updates: int) -> None:
        account.train(network, updates)
        smalls.append(network)

    grown = v_cycle(large, train, settings.initial, settings.small, alpha)
    return grown, held_out_loss(smalls[-1], account.world.tests)


def from_small(
    settings: Settings, seed: int, account: Account
) -> tuple[GPT, float | None]:
    """Grow a small network that was trained from scratch into a new large one, as the
    V-cycle with α = 0.5 would. What the V-cycle spends on the large network before
    coalescing, this arm spends on the small one.
    """
    large = settings.new(seed, **settings.large)
    sizes = {name: size // 2 for name, size in settings.large.items()}
    small = settings.new(seed, **sizes)
    before = settings.initial * training_flops(large) / training_flops(small)
    account.train(small, settings.small + round(before))
    loss = held_out_loss(small, account.world.tests)
    return interpolate(large, decoalesce(small), 0.5), loss


def from_stack(
    settings: Settings, seed: int, account: Account
) -> tuple[GPT, float | None]:
    """Train a network of half the depth, and stack it on itself."""
    sizes = settings.large | {"depth": settings.depth // 2}
    half = settings.new(seed, **sizes)
    account.train(half, settings.stacked)
    loss = held_out_loss(half, account.world.tests)
    return build(double_depth(half.state_dict()), settings.large, half), loss


def arms(settings: Settings) -> dict[str, Arm]:
    """Return all arms by name."""
    cycles = {
        cycle(alpha): Arm(partial(from_cycle, alpha=alpha)) for alpha in settings.alphas
    }
    cycles[cycle(0.5)] = replace(cycles[cycle(0.5)], ends=settings.cycle_ends)
    return {
        SCRATCH: Arm(from_scratch, settings.scratch_ends),
        **cycles,
        CONTROL: Arm(from_small),
        STACKED: Arm(from_stack),
    }


def plan(settings: Settings, cost: int) -> Schedule:
    """Return the schedule; the large network's updates cost `cost` each, per token."""
    half, depth = settings.width // 2, settings.depth
    return Schedule(
        budget=settings.updates * cost,
        whole=settings.updates,
        warmup=settings.initial,
        tail=settings.tail,
        rates={
            (settings.width, depth): settings.rate,
            (half, depth // 2): settings.small_rate,
            (settings.width, depth // 2): settings.stacked_rate,
        },
        watched=settings.watched,
        shown=settings.shown,
    )
