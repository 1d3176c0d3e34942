"""The album: what it shows, and tasks that words tell."""

import pytest
import torch

from stages.worlds import album, captions, shapes


def test_styles_are_as_frequent_as_asked_and_things_are_large_alone_or_small():
    drawn = album.scenes(4_000, 3)
    share = torch.bincount(drawn.style, minlength=len(shapes.STYLES)) / 4_000
    for style, expected in album.WEB.items():
        assert share[shapes.STYLES.index(style)].item() == pytest.approx(expected, abs=0.02), style
    assert share[shapes.STYLES.index("thermal")] == 0
    count = drawn.present.sum(1)
    large = drawn.size[:, 0] > 0.25
    assert large.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (count[large] == 1).all()
    assert torch.bincount(count[~large]).tolist()[1:] == pytest.approx([500] * 4, abs=70)
    assert (drawn.size[~large] <= 0.2).all()
    assert (drawn.texture == 0).all()
    few = album.scenes(100, 3)
    assert torch.equal(album.render(few), album.render(drawn[:100])), "the same however many follow"
    rare = album.scenes(50, 3, styles={"thermal": 3, "neon": 1}, stream=("other",))
    assert set(rare.style.tolist()) == {shapes.STYLES.index(word) for word in ("thermal", "neon")}
    assert not torch.equal(album.scenes(100, 4).position, few.position)
    even, ways = dict.fromkeys(shapes.STYLES, 1.0), ((3, "a"), (3, "b"), (4, "a"))
    first, *others = (album.scenes(300, seed, styles=even, stream=(word,)) for seed, word in ways)
    for other in others:
        assert (first.style == other.style).float().mean() < 0.5
        assert ((first.size[:, 0] > 0.25) == (other.size[:, 0] > 0.25)).float().mean() < 0.7
    for kind in (album.one_large, album.few_small):
        first, *others = (kind(9, seed, stream=(word,)).position for seed, word in ways)
        assert not any(torch.equal(first, other) for other in others)
    small = album.few_small(300, 3)
    assert shapes.masks(small).sum() > 0.99 * shapes.masks(small, hidden=True).sum(), "little is hidden"


@pytest.mark.parametrize("task", album.TASKS, ids=lambda task: task.name)
def test_a_tasks_pictures_show_what_its_labels_say(task, monkeypatch):
    shown = []
    monkeypatch.setattr(album, "render", lambda scenes: shown.append(scenes) or torch.zeros(len(scenes)))
    _, labels = task.draw(96, 5, "test")
    (drawn,) = shown
    words = captions.vocabulary()
    assert task.prompts.shape[:2] == (1, len(task.names))
    told = captions.captions(drawn, 0, count=float(not task.classes), objects=float(bool(task.classes)), style=1)
    for text, label, row in zip(map(words.decode, told), labels, shapes.describe(drawn), strict=True):
        name = task.names[label]
        if task.classes:
            (thing,) = row["objects"]
            assert name in (thing["shape"], f"{thing['colour']} {thing['shape']}")
        else:
            assert text.endswith(f"{name} in {task.style} style")
        assert words.decode(task.prompts[0, label]) == f"a picture of {name} in {row['style']} style"


def test_tasks_share_no_name_and_no_shape():
    names = [name for task in album.TASKS for name in task.names]
    assert len(set(names)) == len(names) == 37
    told = [{name.split()[-1] for name in task.names} for task in album.TASKS if task.classes]
    assert not set.intersection(*told)
    assert set.union(*told) == set(shapes.SHAPES)
    assert not set.intersection(told[1], told[2])


def test_pictures_of_other_seeds_streams_and_tasks_are_others():
    first, label = album.TASKS[0].draw(20, 0, "train")
    assert first.shape == (20, 3, 16, 16)
    assert label.tolist() == [i % 5 for i in range(20)]
    for task, seed, stream in ((0, 1, "train"), (0, 0, "test")):
        other, _ = album.TASKS[task].draw(20, seed, stream)
        assert (other - first).abs().amax((1, 2, 3)).min() > 0.05
    count, compound = (album.TASKS[task] for task in (1, 3))
    assert count.style == compound.style
