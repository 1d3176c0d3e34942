"""The claims about reinforcement fine-tuning and forgetting, and their test."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch

from stages.evidence import Claim, Gate, Outcome, Paper
from stages.models import GPT
from stages.papers.post_training.rft_forgetting import method
from stages.papers.post_training.rft_forgetting.method import Task, Update
from stages.papers.post_training.rft_forgetting.scores import (
    DEAD,
    DRIFT,
    FM,
    GAIN,
    GENERAL,
    LEAST,
    MOST,
    NEW,
    PREDICTED,
    RISK,
    UPDATES,
    dead_share,
    drift,
    score_risks,
    score_stages,
)
from stages.papers.post_training.rft_forgetting.tasks import (
    ORDER,
    Start,
    Wording,
    accuracy,
    divide,
    foreign_wording,
    labelled,
    own_wording,
    sampled,
    start_policy,
    usual_requests,
)
from stages.seeding import torch_rng
from stages.worlds.smalltalk import Requests
from stages.worlds.vocabulary import Answered

START = "start policy"
SFT, OWN, SAMPLES = "SFT", "SFT in own wording", "SFT on own samples"
GRPO, WITH_KL, UNDIVIDED = "GRPO", "GRPO with KL", "GRPO, undivided"
JOINT = "joint SFT"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "After a sequence of tasks GRPO has forgotten less of them than SFT.",
        FM,
        GRPO,
        SFT,
        margin=3.0,
        reported="-2.3 for GRPO, -10.4 for SFT",
    ),
    Claim(
        "C2",
        "What the model was able to do in general is kept better by GRPO than by SFT.",
        GENERAL,
        GRPO,
        SFT,
        margin=3.0,
        reported="MMMU 54.2 after GRPO, 40.1 after SFT, 52.1 before",
    ),
    Claim(
        "C3",
        "Task after task, GRPO ends about as accurate on all of them as SFT that learns"
        " them together.",
        NEW,
        GRPO,
        JOINT,
        margin=10.0,
        kind="noninferiority",
        reported="60.0 for GRPO, 62.9 for joint training; the margin is ours",
    ),
    Claim(
        "C4",
        "The KL penalty is not what keeps earlier tasks: without it as little is"
        " forgotten.",
        FM,
        GRPO,
        WITH_KL,
        margin=3.0,
        kind="equivalence",
        reported="similar retention; accuracy 59.5 without, 60.0 with",
    ),
    Claim(
        "C5",
        "GRPO forgets less even than SFT on labels in the model's own wording.",
        FM,
        GRPO,
        OWN,
        margin=1.0,
        reported="no such arm",
        origin="ours",
    ),
)
ALSO = (
    Claim("C1b", "SFT on own samples, against SFT.", FM, SAMPLES, SFT),
    Claim("C1c", "GRPO, against SFT on own samples.", FM, GRPO, SAMPLES),
    Claim("C1d", "Divided by the deviation or not.", FM, GRPO, UNDIVIDED),
    Claim("C1e", "New accuracy at the end, against SFT.", NEW, GRPO, SFT),
    Claim("C2b", "General accuracy, against own wording.", GENERAL, GRPO, OWN),
    Claim("C2c", "General accuracy, own samples or not.", GENERAL, GRPO, SAMPLES),
    Claim("C2d", "General accuracy, joint SFT or SFT.", GENERAL, JOINT, SFT),
    Claim("C3b", "Own wording, against joint SFT.", NEW, OWN, JOINT),
    Claim("C5b", "KL on old prompts.", DRIFT, GRPO, SFT, lower_is_better=True),
    Claim("C5c", "The same, own wording.", DRIFT, GRPO, OWN, lower_is_better=True),
    Claim("C5d", "Groups that teach nothing, in %.", DEAD, GRPO),
    Claim("C5e", "Risk, measured or predicted.", RISK, UNDIVIDED, PREDICTED),
    Claim("C5f", "Risk, divided by the deviation.", RISK, GRPO, UNDIVIDED),
    Claim("C5g", "Risk, foreign or own wording.", RISK, SFT, OWN),
)
GATES = (
    Gate("The start policy answers usual requests", START, GENERAL, least=90),
    Gate("It knows a part of each new family (least)", START, LEAST, least=10),
    Gate("It knows only a part of each (most)", START, MOST, most=60),
    Gate("SFT learns in every stage (points)", SFT, GAIN, least=15),
    Gate("SFT in own wording, too", OWN, GAIN, least=15),
    Gate("GRPO, too", GRPO, GAIN, least=15),
)


# ----------------------------------------------------------------------------- the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        start: how the start policy is made.
        batch: labels of an update of SFT.
        prompts, samples: of an update on own responses; their product is `batch`.
        target: accuracy in % on the validation requests of its task that ends a stage.
        most, every: updates of a stage, and between two looks.
        general: requests of each usual family that a policy is measured on, at most.
        probed: requests for what explains the arms: risk, drift, dead groups.
        only: arms that are run; all where it is empty.
    """

    start: Start = field(default_factory=Start)
    batch: int = 64
    prompts: int = 8
    samples: int = 8
    target: float = 80.0
    most: int = 300
    every: int = 5
    general: int = 60
    probed: int = 64
    only: tuple[str, ...] = ()


def imitate(settings: Settings) -> Update:
    """SFT on labels."""
    return method.imitate(settings.batch)


def imitate_own(settings: Settings) -> Update:
    """SFT on own right responses."""
    return method.imitate_own(settings.prompts, settings.samples)


def grpo(divided: bool = True, penalty: float = 0.0) -> Callable[[Settings], Update]:
    """GRPO and its variants."""

    def made(settings: Settings) -> Update:
        return method.grpo(settings.prompts, settings.samples, divided, penalty)

    return made


@dataclass(frozen=True)
class Arm:
    """A way to learn the tasks.

    Attributes:
        update: makes the loss of an update.
        rate: of Adam.
        wording: of the labels, where there are any.
        together: whether all tasks are learnt in one stage.
    """

    update: Callable[[Settings], Update]
    rate: float
    wording: Wording = own_wording
    together: bool = False


ARMS: dict[str, Arm] = {
    SFT: Arm(imitate, 1e-4, foreign_wording),
    OWN: Arm(imitate, 1e-4),
    SAMPLES: Arm(imitate_own, 1e-4),
    GRPO: Arm(grpo(), 1e-4),
    WITH_KL: Arm(grpo(penalty=0.01), 1e-4),
    UNDIVIDED: Arm(grpo(divided=False), 1e-4),
    JOINT: Arm(imitate, 1e-4, foreign_wording, together=True),
}


# ---------------------------------------------------------------------------------- run


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        parts: of the new families: to train on, to end a stage by, to test.
        usual: requests that the start policy answers already.
        old: usual requests with the start policy's own responses.
    """

    start: GPT
    parts: dict[str, Requests]
    usual: Requests
    old: Answered
    seed: int

    def tested(self, policy: GPT) -> torch.Tensor:
        """Return the accuracy on the test requests of each new family."""
        test = self.parts["test"]
        return torch.tensor([accuracy(policy, test.of(name)) for name in ORDER])


def make_lab(settings: Settings, seed: int) -> Lab:
    """Divide the requests of a seed, and make its start policy."""
    parts = divide(seed)
    start = start_policy(parts, settings.start, seed)
    usual = usual_requests(seed, settings.general)
    every = len(usual) // settings.probed + 1
    some = usual.take(torch.arange(len(usual))[::every])
    old = method.roll_out(start, some, 1, torch_rng(seed, "old")).texts
    return Lab(start, parts, usual, old, seed)


def learn(outcome: Outcome, name: str, arm: Arm, lab: Lab, settings: Settings) -> GPT:
    """Let an arm learn its stages, and score it."""
    policy = deepcopy(lab.start)
    after, general, updates, dead = [], [accuracy(policy, lab.usual)], 0, []
    for k, families in enumerate([ORDER] if arm.together else [(f,) for f in ORDER]):
        train = lab.parts["train"].of(*families)
        held_out = lab.parts["validation"].of(*families)
        said = method.learn_stage(
            policy,
            arm.update(settings),
            Task(train, labelled(train, arm.wording), deepcopy(policy)),
            arm.rate,
            lambda model, held_out=held_out: accuracy(model, held_out),
            torch_rng(lab.seed, "stage", k),
            target=settings.target,
            most=settings.most * len(families),
            every=settings.every,
        )
        updates += settings.every * (len(said) - 1)
        after.append(lab.tested(policy))
        general.append(accuracy(policy, lab.usual))
        some = train.take(torch.arange(settings.probed))
        chance = torch_rng(lab.seed, "dead", k)
        dead.append(dead_share(method.roll_out(policy, some, settings.samples, chance)))
    score_stages(outcome, name, lab.tested(lab.start), torch.stack(after), general)
    outcome.score(name, UPDATES, updates)
    outcome.score(name, DRIFT, drift(policy, lab.start, lab.old))
    outcome.score(name, DEAD, sum(dead) / len(dead))
    return policy


def run(settings: Settings, seed: int) -> Outcome:
    """Score a seed's start policy, then let each arm learn the tasks from there."""
    outcome = Outcome()
    lab = make_lab(settings, seed)
    test = lab.parts["test"]
    known = [
        sampled(lab.start, test.of(name), torch_rng(seed, "known", name))
        for name in ORDER
    ]
    outcome.score(START, GENERAL, accuracy(lab.start, lab.usual))
    outcome.score(START, LEAST, min(known))
    outcome.score(START, MOST, max(known))
    for name in settings.only or ARMS:
        policy = learn(outcome, name, ARMS[name], lab, settings)
        outcome.exhibits[name] = policy
    train = lab.parts["train"]
    new = train.take(torch.arange(len(train))[:: len(train) // settings.probed])
    names = (SFT, OWN, GRPO, UNDIVIDED)
    score_risks(outcome, lab.start, lab.old, new, names, settings.samples, seed)
    outcome.exhibits["lab"] = lab
    return outcome


FULL = Settings()

PAPER = Paper(
    slug="post_training/rft_forgetting",
    title=(
        "Reinforcement Fine-Tuning Naturally Mitigates Forgetting in Continual"
        " Post-Training"
    ),
    arxiv="2507.05386",
    year=2025,
    bibkey="lai2025rft",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(),
    profiles={
        "probe": replace(
            FULL,
            start=Start(None, rate=3e-3, least=20, most=20, every=20),
            samples=4,
            most=1,
            every=1,
            general=4,
            probed=8,
        ),
        "quick": replace(
            FULL, start=Start(reading=None), most=60, only=(SFT, OWN, GRPO)
        ),
        "full": FULL,
    },
    run=run,
)
