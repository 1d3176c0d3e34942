"""Small transformers that solve word problems by thinking in vectors, and the code that
trains them.

All start from a model of written steps, which Coconut's curriculum takes through its
first stages; from there on some have a decoder that must write each step from its
thought, as in "SIM-CoT: Supervised Implicit Chain-of-Thought" (Wei et al. 2026). The
paper `mechanisms/sim_cot` trains its networks here too, with arms of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stages.models import GPT, seeded
from stages.progress import bar
from stages.seeding import rng, torch_rng
from stages.training import cosine, fit, optimiser, pick_device
from stages.worlds import chains
from stages.worlds.vocabulary import PAD, Vocabulary
from stages.zoo.recipe import Recipe
from stages.zoo.thoughts import Arm, Decoder, Problems, Thinker, decode

COT, COCONUT, SIM, STOP = "explicit CoT", "Coconut", "SIM-CoT", "SIM-CoT, stop-gradient"
SHIPPED = {COCONUT: Arm(), SIM: Arm(step=1.0), STOP: Arm(step=1.0, stop=True)}


@dataclass(frozen=True)
class Training:
    """Problems, a network, and how it learns to think.

    Attributes:
        steps, modulus, largest: of the problems; they have no distractors.
        pool: problems to draw batches from.
        width, depth, heads, room: of the network, and the most thoughts that it has
            positions for.
        batch, written: problems in an update, and updates on written steps.
        curriculum: updates in each of the first stages, which all arms of a K share.
        further, between: updates in all stages that follow, and in each of these but
            the last.
        rate, later: Adam's learning rate on written steps, and in everything after.
        seeds: networks of an arm in the zoo.
    """

    steps: tuple[int, int] = (2, 4)
    modulus: int = 5
    largest: int = 2
    pool: int = 30_000
    width: int = 64
    depth: int = 2
    heads: int = 4
    room: int = 8
    batch: int = 64
    written: int = 700
    curriculum: tuple[int, ...] = (300, 1000)
    between: int = 300
    further: int = 1100
    rate: float = 3e-3
    later: float = 1.5e-3
    seeds: int = 3

    def draw(self, seed: int, name: str, n: int, **options) -> chains.Chains:
        """Draw problems as in training, but for `options`."""
        usual = {
            "steps": self.steps,
            "distractors": 0,
            "modulus": self.modulus,
            "largest": self.largest,
        }
        return chains.sample(
            n, seed, plain=True, stream=("sim-cot", name), **{**usual, **options}
        )

    @property
    def words(self) -> Vocabulary:
        """What problems are written in."""
        return chains.vocabulary(self.modulus, plain=True)

    @property
    def length(self) -> int:
        """The most tokens that a question of one step and one distractor more, its
        steps and thoughts may take.
        """
        most = self.steps[1] + 1
        return chains.WIDTH * (most + 3) + 7 * most + self.room + 6


def batches(
    problems: Problems,
    updates: int,
    batch: int,
    seed: int,
    *names: str | int,
    group: int = 8,
) -> Int[Tensor, "updates batch"]:
    """Draw problems with repeats, those of like length together: of `group` batches, in
    random order, at a time.

    Problems of 2 to 4 steps in one batch would spend a quarter of the time on pads.
    More updates only add to the end.
    """
    length, rows = (
        (problems.question != PAD).sum(1) + problems.steps.shape[2] * problems.count,
        [],
    )
    for g in range(-(-updates // group)):
        chance = rng(seed, "sim-cot", "batches", *names, g)
        some = torch.from_numpy(chance.integers(len(problems), size=group * batch))
        some = some[length[some].argsort(stable=True)].view(group, batch)
        rows.append(some[torch.from_numpy(chance.permutation(group))])
    return torch.cat(rows)[:updates]


def train(
    thinker: Thinker,
    pool: Problems,
    how: Training,
    seed: int,
    phase: str,
    stages: Mapping[int, int],
    rate: float,
) -> None:
    """Train a model in place through stages, each with its number of updates; the
    optimiser starts anew in each, as Coconut's does.

    All arms see the same problems in the same order within a phase, those with more
    updates go on from there.
    """
    for stage, updates in stages.items():
        if not updates:
            continue
        order = batches(pool, updates, how.batch, seed, phase, stage)
        chance = torch_rng(seed, "sim-cot", "targets", phase, stage)
        adam = optimiser(thinker.parameters(), "adamw", rate, weight_decay=0.01)

        def loss(
            i: int,
            stage: int = stage,
            order: Tensor = order,
            chance: torch.Generator = chance,
        ) -> Tensor:
            return thinker.loss(pool.take(order[i]), stage, chance)

        fit(loss, updates, adam, schedule=cosine(updates, updates // 20, 0.1))


def make_thinker(how: Training, model: GPT, arm: Arm, seed: int) -> Thinker:
    """Make the model of an arm from what it starts from."""
    with seeded(seed, "sim-cot", "thinker"):
        return Thinker(model, arm, how.words, how.steps[1]).to(pick_device())


def make_gpt(how: Training) -> GPT:
    """Make a network, its weights drawn from torch's own stream."""
    return GPT(len(how.words), how.width, how.depth, how.heads, how.length)


def learn_steps(how: Training, pool: Problems, seed: int) -> GPT:
    """Train a new model on written steps; the marks it has not met start as "<", as
    released for Coconut.
    """
    with seeded(seed, "sim-cot", "model"):
        thinker = make_thinker(how, make_gpt(how), Arm("steps", how.steps[1]), seed)
    train(thinker, pool, how, seed, "steps", {0: how.written}, how.rate)
    marks = [how.words.number[mark] for mark in ("<thought>", "</thought>", "<pause>")]
    with torch.no_grad():
        thinker.model.embedding.weight[marks] = thinker.model.embedding.weight[
            how.words.number["<"]
        ].clone()
    return thinker.model


def learn_first_thoughts(
    how: Training, pool: Problems, model: GPT, thoughts: int, seed: int
) -> GPT:
    """Take a model of written steps through the first stages, in each of which one more
    step is thought.
    """
    thinker = make_thinker(how, model, Arm(thoughts=thoughts), seed)
    train(
        thinker,
        pool,
        how,
        seed,
        "curriculum",
        dict(enumerate(how.curriculum, 1)),
        how.later,
    )
    return thinker.model


def learn_on(
    how: Training,
    pool: Problems,
    model: GPT,
    arm: Arm,
    seed: int,
    updates: int | None = None,
) -> Thinker:
    """Train an arm from there through the stages that are left, `updates` in all, most
    of them in the last.

    An arm that no curriculum precedes is in the last stage from the start, and gets the
    curriculum's updates on top.
    """
    thinker, updates = (
        make_thinker(how, model, arm, seed),
        how.further if updates is None else updates,
    )
    stages = {}
    if arm.curriculum:
        stages = dict.fromkeys(
            range(len(how.curriculum) + 1, thinker.last), how.between
        )
    else:
        updates += sum(how.curriculum)
    stages[thinker.last] = updates - sum(stages.values())
    train(thinker, pool, how, seed, "further", stages, how.later)
    return thinker


def accuracy(answers: Int[Tensor, " n"], problems: Problems) -> float:
    """Return in % how often answers, as a `Thinker` gives them, are right."""
    return 100 * (answers == problems.answer[:, 1]).double().mean().item()


def decoded(
    decoder: Decoder,
    thinker: Thinker,
    problems: Problems,
    thoughts: Float[Tensor, "n thoughts width"],
) -> Bool[Tensor, "n slots"]:
    """Return which steps a decoder writes exactly as they should be, from what it is
    given as a model's thoughts.
    """
    truth = problems.slots(thinker.slots)
    made = decode(
        decoder, thoughts, thinker.slots, truth.shape[2], thinker.words["<end>"]
    )
    return (made == truth).all(2)


def build(how: Training) -> nn.ModuleDict:
    """Make the networks of the zoo: for each seed, which is their key, the model of
    written steps and one of each arm that is shipped.
    """
    networks = nn.ModuleDict()
    for seed in range(how.seeds):
        arms = {COT: Arm("steps")} | SHIPPED
        group = {
            name: Thinker(make_gpt(how), arm, how.words, how.steps[1])
            for name, arm in arms.items()
        }
        networks[str(seed)] = nn.ModuleDict(group)
    return networks


def fit_all(networks: nn.ModuleDict, how: Training, seed: int) -> None:
    """Train all networks, one after another."""
    for key, group in bar(networks.items(), desc="seeds"):
        own = seed + int(key)
        pool = Problems.of(how.draw(own, "train", how.pool))
        written = learn_steps(how, pool, own)
        group[COT].model.load_state_dict(written.state_dict())
        start = learn_first_thoughts(how, pool, written, Arm().thoughts, own)
        for name, arm in SHIPPED.items():
            group[name].load_state_dict(
                learn_on(how, pool, start, arm, own).state_dict()
            )


def measure(networks: nn.ModuleDict, how: Training, seed: int) -> dict[str, float]:
    """Measure in % how often answers are right, and the steps that are decoded from
    thoughts; mean over networks.
    """
    problems, found = Problems.of(how.draw(seed, "zoo", 500)), {}
    for group in networks.values():
        for name, thinker in group.items():
            answers, _, thoughts = thinker.solve(problems)
            found.setdefault(f"{name}: accuracy", []).append(
                accuracy(answers, problems)
            )
            if thinker.reader is not None:
                right = decoded(thinker.reader, thinker, problems, thoughts)
                found.setdefault(f"{name}: decoded steps", []).append(
                    100 * right.double().mean().item()
                )
    return {name: sum(values) / len(values) for name, values in found.items()}


TRAINING = Training()
RECIPE = Recipe(
    "chain_thinkers",
    "transformers of 2 blocks and width 64 that solve word problems in written steps,"
    " or in vectors; three of each",
    "30,000 word problems of 2 to 4 sums modulo 5, told in sentences of five words",
    TRAINING,
    build,
    fit_all,
    measure,
)
