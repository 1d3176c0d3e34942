"""What is measured: scores of pictures, score against denoiser calls, gains."""

from dataclasses import replace

import torch

from stages.evidence import Outcome, in_setting
from stages.papers.diffusion.grape import bench, method, rivals
from stages.papers.diffusion.grape.bench import Bench
from stages.papers.diffusion.grape.method import Trace
from stages.tracing import note

SCORE, ALL_RIGHT, CALLS = "score", "all right", "denoiser calls"
FIXED, DAMAGED, AGREED = "mistakes fixed", "damaged", "seen as by the judge"
GAIN, REDUCTION = "gain", "relative error reduction"
OBEYED, KEPT, READ = "edits obeyed", "others kept", "renders read right"
BASE, REGENERATED, GRAPE = "base", "regeneration alone", "GraPE"
COMPOUND, SHUFFLED = "compound instruction", "shuffled plan"
JUDGE, LONG = "judge as planner", "better editor"
BEST, MOST, ORIGIN = "best-of-n", "best-of-8", "the editor's generator"
NOISE_1, NOISE_3 = "10 % noise", "30 % noise"
WEAK, STRONG = "weak", "strong"
GENERATORS = {WEAK: "quads_weak", STRONG: "quads_strong"}
EDITORS_START = "quads_base"  # the generator from which the editors were made
HARD = 4  # things in the prompts on which all arms are compared


def things(k: int) -> str:
    """Name prompts by how many things they ask for."""
    return f"k = {k}"


def setting(generator: str, k: int) -> str:
    """Name a generator and its prompts."""
    return f"{generator}, {things(k)}"


def score(outcome: Outcome, name: str, where: str, trace: Trace, table: Bench) -> float:
    """Judge an arm's pictures; return the share of questions that they answer right."""
    right = bench.answers(trace.output, table.scenes)
    start = right
    if trace.output is not trace.start:
        start = bench.answers(trace.start, table.scenes)
    mean = float(right.float().mean())
    # nothing is trained here, so the probe compares this in the place of losses
    note("mean pixel", float(trace.output.mean()))
    calls = table.steps * trace.drawn.float().mean()
    found = {
        SCORE: mean,
        ALL_RIGHT: right.all(1).float().mean(),
        CALLS: calls,
        FIXED: bench.share(right, ~start),
        DAMAGED: bench.share(~right, start),
    }
    for metric, value in found.items():
        outcome.score(name, in_setting(metric, where), float(value))
    return mean


def against_calls(
    outcome: Outcome, where: str, trace: Trace, table: Bench, most: int
) -> None:
    """Score GraPE after each edit, and best-of-n for each n up to `most`, against
    denoiser calls; how alike planner and judge see; and what the generator draws from
    which the editor was made.
    """
    look = bench.eyes()
    seen = rivals.as_judge(table.attempt(0))
    same = ~method.mistakes(look(table.attempt(0)), seen)
    outcome.score(BASE, in_setting(AGREED, where), float(same.float().mean()))
    length = method.lengths(trace.edits)
    pictures = {GRAPE: dict(enumerate(trace.stages)), BEST: {}}
    calls = {GRAPE: [], BEST: []}
    for number in pictures[GRAPE]:
        so_far = trace.drawn - (length - number).clamp(min=0)
        calls[GRAPE].append(float(table.steps * so_far.float().mean()))
    for n in range(1, most + 1):
        allowed = torch.full((len(table.scenes),), n)
        pictures[BEST][n] = bench.chosen(table, allowed)
        calls[BEST].append(table.steps * n)
    for name, made in pictures.items():
        found = [bench.answers(p, table.scenes).float().mean() for p in made.values()]
        outcome.curve(name, in_setting(SCORE, where), calls[name], map(float, found))
    last = bench.answers(pictures[BEST][most], table.scenes)
    outcome.score(MOST, in_setting(SCORE, where), float(last.float().mean()))
    better = Bench(
        EDITORS_START, table.things, len(table.scenes), table.steps, table.seed
    )
    right = bench.answers(better.attempt(0), table.scenes)
    outcome.score(ORIGIN, in_setting(SCORE, where), float(right.float().mean()))


def gains(outcome: Outcome, generator: str, found: dict[int, dict[str, float]]) -> None:
    """Score what GraPE gains with each number of things, also as a part of what was
    wrong.
    """
    for k, scores in found.items():
        gain = scores[GRAPE] - scores[BASE]
        outcome.score(things(k), in_setting(GAIN, generator), gain)
        outcome.score(generator, in_setting(GAIN, things(k)), gain)
        part = gain / max(1 - scores[BASE], 1e-9)
        outcome.score(generator, in_setting(REDUCTION, things(k)), part)
    for name in (BASE, GRAPE):
        values = [scores[name] for scores in found.values()]
        outcome.curve(name, in_setting("score by k", generator), found, values)


def shown(traces: dict[str, Trace], table: Bench, prompts: int) -> dict:
    """Keep the first prompts and their pictures for the figures."""
    kept = {
        name: replace(
            trace,
            start=trace.start[:prompts],
            stages=[stage[:prompts] for stage in trace.stages],
            edits=trace.edits[:prompts],
            again=trace.again[:prompts],
            drawn=trace.drawn[:prompts],
        )
        for name, trace in traces.items()
    }
    return {"scenes": table.scenes[:prompts], "traces": kept}
