from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F

from stages.models import GPT, seeded
from stages.seeding import torch_rng
from stages.worlds import chains
from stages.zoo.thoughts import (
    Arm,
    Decoder,
    Problems,
    Thinker,
    decode,
    distillation_loss,
    misaligned,
    recorded,
    step_loss,
)

WORDS = chains.vocabulary(11, plain=True)
MOST = 3


@pytest.fixture
def problems():
    return Problems.of(chains.sample(12, 0, steps=(2, MOST), distractors=(0, 1), modulus=11, plain=True))


@pytest.fixture
def model():
    with seeded(0):
        return GPT(len(WORDS), 16, 2, 2, length=96)


def thinker(model, **options):
    with seeded(1):
        return Thinker(model, Arm(**{"thoughts": MOST, **options}), WORDS, MOST)


def gradients(thinker, problems, stage=MOST):
    """The model's gradients after one loss, by name."""
    thinker.zero_grad()
    thinker.loss(problems, stage, torch_rng(0)).backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in thinker.named_parameters()}


def text(rows):
    return [WORDS.decode(row) for row in rows]


# ---- problems


def test_text_leaves_out_first_steps_or_the_last(problems):
    for i, (full, rest, teacher) in enumerate(
        zip(text(problems.text()), text(problems.text(1)), text(problems.text(last=False)), strict=True)
    ):
        steps, answer = full.split(" <answer> ")
        steps = steps.replace("> <", ">|<").split("|")
        assert len(steps) == problems.count[i]
        assert rest == " ".join([*steps[1:], "<answer>", answer])
        assert teacher == " ".join([*steps[:-1], "<answer>", answer])
        assert steps[-1].split()[-2] == answer.split()[0]  # so with the last step in it the answer is given away
        assert answer.endswith("<end>")
    assert text(problems.text(MOST)) == text(problems.answer)


def test_a_slot_holds_its_step_the_last_one_all_that_are_left(problems):
    for slots in (1, 2, MOST):
        found = problems.slots(slots)
        assert found.shape[:2] == (12, slots)
        for i in range(len(problems)):
            steps = text(problems.steps[i][: problems.count[i]])
            parts = [*steps[: slots - 1], " ".join(steps[slots - 1 :])]
            parts = [part + " <end>" if part else text(problems.answer)[i] for part in parts]
            parts += [text(problems.answer)[i]] * (slots - len(parts))
            assert text(found[i]) == parts


def test_an_empty_slot_can_be_left_empty(problems):
    answered, empty = problems.slots(MOST), problems.slots(MOST, "nothing")
    short = problems.count < MOST
    assert short.any()
    assert (empty[short, -1] == 0).all()
    assert (answered[short, -1, :3] == problems.answer[short]).all()
    assert torch.equal(empty[~short], answered[~short])


def test_taking_problems_drops_no_word(problems):
    rows = torch.tensor([3, 1])
    some = problems.take(rows)
    assert text(some.question) == text(problems.question[rows])
    assert (some.question != 0).any(0).all()
    assert text(some.text()) == text(problems.text()[rows])


# ---- the latent chain


def test_a_thought_is_the_state_before_its_place_read_as_the_next_word(model, problems):
    """z_k = H(U_{k-1}), as long as an embedding is, the whole sequence read anew each time, without a cache."""
    one, length = thinker(model), model.embedding.weight.norm(dim=1).mean()
    cache, last = one.read(problems)
    thoughts, after = one.think(cache, last, 3)
    marks = torch.full_like(last, WORDS.number["<thought>"])
    inputs = one.model.embedding(torch.cat([problems.question, marks], 1))
    for k in range(3):
        mask = F.pad(problems.question != 0, (0, inputs.shape[1] - problems.question.shape[1]), value=True)
        z = one.model.extend(inputs, mask=mask)[0][:, -1:]
        z = z / z.norm(dim=-1, keepdim=True) * length
        assert torch.allclose(thoughts[:, k : k + 1], z, atol=1e-5)
        inputs = torch.cat([inputs, z], 1)
    assert after.past == inputs.shape[1]


def test_pads_change_no_thought(model, problems):
    one = thinker(model)
    together = one.solve(problems)[2]
    alone = torch.cat([one.solve(problems.take(torch.tensor([i])))[2] for i in range(len(problems))])
    assert (problems.question == 0).any()
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_answers_gradient_reaches_the_first_thought_through_all_others(model, problems):
    one = thinker(model)
    kept = {}

    def keep(k, z):
        z.retain_grad()
        kept[k] = z
        return z

    cache, last = one.read(problems)
    _, after = one.think(cache, last, 3, keep)
    one._text_loss(after, torch.full_like(last, WORDS.number["</thought>"]), problems.answer).backward()
    assert all(kept[k].grad.norm() > 0 for k in range(3))


def test_gradients_through_the_chain_are_those_of_differences(problems):
    with seeded(0):
        model = GPT(len(WORDS), 8, 1, 1, length=96).double()
    one = thinker(model, step=1.0).double()
    found = gradients(one, problems)["model.blocks.0.mlp.0.weight"]
    weight = one.model.blocks[0].mlp[0].weight
    for place in ((0, 0), (5, 3), (20, 7)):
        values = []
        for shift in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += shift
                values.append(one.loss(problems, MOST, torch_rng(0)).item())
                weight[place] -= shift
        assert found[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_an_edit_changes_what_follows_and_nothing_before(model, problems):
    one = thinker(model)
    plain = one.solve(problems)[2]
    edited = one.solve(problems, lambda k, z: z.roll(1, 0) if k == 1 else z)[2]
    assert torch.equal(edited[:, 0], plain[:, 0])
    assert torch.allclose(edited[:, 1], plain[:, 1].roll(1, 0))
    assert not torch.allclose(edited[:, 2], plain[:, 2], atol=1e-4)


def test_a_stage_thinks_the_first_steps_and_writes_the_others(model, problems, monkeypatch):
    one, seen = thinker(model, thoughts=2 * MOST), []
    monkeypatch.setattr(one, "think", lambda cache, last, count: seen.append(count) or (None, cache))
    monkeypatch.setattr(one, "_text_loss", lambda cache, first, words: seen.append(words) or torch.zeros(()))
    for stage in (1, 2, 3):
        one.loss(problems, stage, torch_rng(0))
        count, words = seen[-2:]
        assert count == 2 * stage
        assert torch.equal(words, problems.text(stage))
    assert one.last == 3
    assert thinker(model, thoughts=2).last == 3
    assert thinker(model, thoughts=1).last == 2
    with pytest.raises(ValueError, match="4 thoughts do not share out among 3 slots"):
        thinker(model, thoughts=4)


# ---- the arms


def test_without_thoughts_the_loss_is_that_of_the_plain_text(model, problems):
    for thinking, rest in (("steps", problems.text()), ("none", problems.answer)):
        whole = torch.cat([problems.question, rest], 1)
        mask = F.pad(problems.question != 0, (0, rest.shape[1]), value=True)
        logits = model(whole, mask)[:, problems.question.shape[1] - 1 : -1]
        expected = F.cross_entropy(logits.flatten(0, 1), rest.flatten(), ignore_index=0)
        assert thinker(model, thinking=thinking).loss(problems, 0, None).item() == pytest.approx(
            expected.item(), rel=1e-5
        )


def test_pauses_are_words_and_thoughts_are_not(model, problems):
    pause = thinker(model, thinking="pauses")
    words = torch.tensor([WORDS.number[w] for w in ["<thought>", *["<pause>"] * MOST, "</thought>"]])
    whole = torch.cat([problems.question, words.expand(12, -1), problems.answer], 1)
    mask = F.pad(problems.question != 0, (0, whole.shape[1] - problems.question.shape[1]), value=True)
    logits = model(whole, mask)[:, -4:-1]
    expected = F.cross_entropy(logits.flatten(0, 1), problems.answer.flatten()).item()
    assert pause.loss(problems, MOST, torch_rng(0)).item() == pytest.approx(expected, rel=1e-5)
    assert thinker(model).loss(problems, MOST, torch_rng(0)).item() != pytest.approx(expected, rel=1e-5)


def test_replay_weighs_written_and_thought_examples_by_their_number(model, problems):
    mixed = thinker(model, replay=0.25).loss(problems, MOST, torch_rng(0)).item()
    words, rest = problems.text(), problems.take(slice(3, None))
    told = thinker(model, thinking="steps")
    cache, last = told.read(problems.take(slice(3)))
    written = told._text_loss(cache, last, words[:3]).item()
    silent = thinker(model).loss(rest, MOST, torch_rng(0)).item()
    assert mixed == pytest.approx(0.25 * written + 0.75 * silent, rel=1e-5)


def test_a_stopped_decoder_learns_and_sends_the_blocks_nothing(model, problems):
    plain, stopped, supervised = (
        gradients(thinker(model, **options), problems) for options in ({}, {"step": 1.0, "stop": True}, {"step": 1.0})
    )
    for name, gradient in plain.items():
        if name != "model.embedding.weight":  # which the decoder reads with
            assert torch.allclose(stopped[name], gradient, atol=1e-7)
            assert not torch.allclose(supervised[name], gradient, rtol=1e-3)
    for found in (stopped, supervised):
        assert all(g.norm() > 0 for name, g in found.items() if "reader" in name and "positions" not in name)


def test_the_loss_is_the_sum_of_its_parts(model, problems):
    answer = thinker(model).loss(problems, MOST, torch_rng(0)).item()
    once, thrice = (thinker(model, step=s).loss(problems, MOST, torch_rng(0)).item() for s in (1.0, 3.0))
    one = thinker(model, step=1.0)
    expected = step_loss(one.reader, one.solve(problems)[2], problems.slots(MOST)).item()
    assert once == pytest.approx(answer + expected, rel=1e-5)
    assert thrice == pytest.approx(answer + 3 * expected, rel=1e-5)


# ---- the decoder


def test_a_decoder_reads_its_own_slots_thoughts_and_the_words_before(model, problems):
    decoder, targets = Decoder(model), problems.slots(MOST)
    thoughts = torch.randn(12, 2 * MOST, 16, generator=torch_rng(0), requires_grad=True)
    words = targets.flatten(0, 1)
    logits = decoder(thoughts.view(36, 2, 16), words)
    whole = torch.cat([thoughts.view(36, 2, 16), model.embedding(words)], 1)
    assert torch.allclose(logits, model(whole)[:, 1:-1], atol=1e-5)  # its output weights are the embedding's still
    one = torch.zeros_like(targets)
    one[0, 1] = targets[0, 1]
    step_loss(decoder, thoughts, one).backward()
    assert (thoughts.grad.norm(dim=-1) > 0).nonzero().tolist() == [[0, 2], [0, 3]]


def test_a_decoder_shares_the_embedding_and_nothing_else(model):
    decoder = Decoder(model)
    shared = {id(p) for p in model.parameters()} & {id(p) for p in decoder.parameters()}
    assert shared == {id(model.embedding.weight)}
    assert torch.equal(decoder.model.head.weight, model.embedding.weight)
    assert id(decoder.model.head.weight) != id(model.embedding.weight)
    one = thinker(model, step=1.0)
    assert one.reader.model.embedding is one.model.embedding
    assert len(list(one.parameters())) == len({id(p) for p in one.parameters()})
    assert deepcopy(one).reader.model.embedding is not one.model.embedding


def test_step_losses_are_normalised_as_released(model, problems):
    decoder = Decoder(model)
    targets = problems.slots(MOST, "nothing")
    thoughts = torch.randn(12, MOST, 16, generator=torch_rng(0))
    per_problem, per_token = [], []
    for k in range(MOST):
        rows = (targets[:, k] != 0).any(1)
        words = targets[rows, k]
        logp = decoder(thoughts[rows, k : k + 1], words).log_softmax(-1).gather(2, words[..., None])[..., 0]
        total = -(logp * (words != 0)).sum()
        per_problem.append((total / rows.sum()).item())
        per_token.append((total / (words != 0).sum()).item())
    mean = lambda values: sum(values) / len(values)  # noqa: E731
    assert step_loss(decoder, thoughts, targets).item() == pytest.approx(mean(per_problem), rel=1e-5)
    assert step_loss(decoder, thoughts, targets, per_token=True).item() == pytest.approx(mean(per_token), rel=1e-5)
    targets[:, 2] = 0  # a slot without targets counts for nothing
    assert step_loss(decoder, thoughts, targets).item() == pytest.approx(mean(per_problem[:2]), rel=1e-5)


def test_misaligned_steps_are_the_same_steps_elsewhere(problems):
    targets = problems.slots(MOST)
    shuffled, foreign = (misaligned(targets, how, torch_rng(0)) for how in ("shuffled", "foreign"))
    assert torch.equal(misaligned(targets, "own", torch_rng(0)), targets)
    for ours, theirs in zip(targets, shuffled, strict=True):
        assert sorted(ours.tolist()) == sorted(theirs.tolist())
    assert not torch.equal(shuffled, targets)
    assert torch.equal(foreign[1:], targets[:-1])
    many = targets[:1].expand(3000, -1, -1)
    first = misaligned(many, "shuffled", torch_rng(0))[:, 0]
    share = (first == targets[0, 0]).all(1).float().mean().item()
    assert share == pytest.approx(1 / 3, abs=0.04)


def test_what_is_decoded_ends_at_its_end(model, problems):
    decoder, end = Decoder(model), WORDS.number["<end>"]
    thoughts = torch.randn(12, MOST, 16, generator=torch_rng(0))
    made = decode(decoder, thoughts, MOST, 8, end)
    assert made.shape == (12, MOST, 8)
    with torch.no_grad():  # a decoder that writes nothing else
        decoder.model.norm.weight.zero_()
        decoder.model.norm.bias.copy_(decoder.model.head.weight[end])
        decoder.model.head.weight[end] *= 100
    made = decode(decoder, thoughts, MOST, 8, end)
    assert (made[..., 0] == end).all()
    assert (made[..., 1:] == 0).all()


def test_a_trained_decoder_writes_what_is_in_a_thought_and_nothing_much_from_zeros(model, problems):
    decoder, targets = Decoder(model), problems.take(slice(4)).slots(MOST)
    thoughts = torch.randn(4, MOST, 16, generator=torch_rng(3))
    adam = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(80):
        adam.zero_grad()
        step_loss(decoder, thoughts, targets).backward()
        adam.step()
    made, blind = (decode(decoder, z, MOST, targets.shape[2], WORDS.number["<end>"]) for z in (thoughts, 0 * thoughts))
    assert (made == targets).all(2).float().mean() > 0.9
    assert (blind == targets).all(2).float().mean() < 0.3


# ---- CODI


def test_codi_compares_states_where_the_answer_is_next(model, problems):
    one = thinker(model, distil=True)
    cache, last = one.read(problems)
    teaching = problems.text(last=False)
    with recorded(one.model) as teacher:
        one._text_loss(cache, last, teaching)
    mark = WORDS.number["<answer>"]
    whole = torch.cat([problems.question, teaching], 1)
    mask = F.pad(problems.question != 0, (0, teaching.shape[1]), value=True)
    states = one.model.states(whole, mask)[1:]
    at = teaching == mark
    for kept, layer in zip(teacher, states, strict=True):
        found = kept[F.pad(at, (1, 0))[:, : kept.shape[1]]]
        assert torch.allclose(found, layer[whole == mark], atol=1e-5)
    assert distillation_loss(teacher, teacher, at, at).item() == 0


def test_distillation_knows_no_scale_and_sends_the_teacher_nothing():
    at = torch.tensor([[True, False, False], [False, True, False]])
    student, teacher = (
        [torch.randn(2, 3, 4, generator=torch_rng(seed, i), requires_grad=True) for i in range(2)] for seed in (0, 1)
    )
    found = distillation_loss(student, teacher, at, at)
    scaled = distillation_loss([7 * s for s in student], [7 * t for t in teacher], at, at)
    assert scaled.item() == pytest.approx(found.item(), rel=1e-5)
    found.backward()
    assert all(t.grad is None for t in teacher)
    touched = student[0].grad.abs().sum(2) > 0
    assert touched.tolist() == [[False, True, False], [False, False, True]]


def test_codi_projects_each_thought_before_it_is_fed_back(model, problems):
    one = thinker(model, distil=True)
    thoughts = one.solve(problems)[2]
    assert torch.allclose(thoughts.mean(-1), torch.zeros(12, MOST), atol=1e-5)
    length = model.embedding.weight.norm(dim=1).mean()
    assert torch.allclose(thoughts.norm(dim=-1), length.expand(12, MOST), rtol=1e-3)
    found = gradients(one, problems)
    assert all(g.norm() > 0 for name, g in found.items() if "project" in name)
    plain = thinker(model)
    assert sum(p.numel() for p in plain.project.parameters()) == 0


# ---- answers


def test_answers_and_tokens_are_read_from_what_is_written(model, problems, monkeypatch):
    one, end, mark = thinker(model), WORDS.number["<end>"], WORDS.number["<answer>"]
    rows = torch.zeros(12, 3, dtype=torch.long) + torch.tensor([mark, 5, end])
    rows[0] = torch.tensor([end, end, end])
    rows[1] = torch.tensor([7, mark, 9])
    rows[2] = torch.tensor([7, 7, mark])
    monkeypatch.setattr(one.model, "generate", lambda *_, **__: rows)
    answers, tokens, _ = one.solve(problems)
    assert answers.tolist() == [0, 9, 0, *[5] * 9]
    assert tokens.tolist() == [MOST + 1, *[MOST + 3] * 11]
