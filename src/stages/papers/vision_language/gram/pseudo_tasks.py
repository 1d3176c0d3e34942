"""Step 1 of GRAM: tasks out of unlabelled pairs.

Captions are clustered into topics, and the pictures of each topic into looks. A task
tells topics apart; its support and query set have different looks. The paper clusters
across both modalities, too; how it does so was not found, and this is our choice.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional as F

Names = Int[Tensor, "tasks classes length"]
Features = Float[Tensor, "tasks classes n size"]


class Pairs(NamedTuple):
    """Pictures with captions, and what the frozen CLIP makes of them."""

    images: Float[Tensor, "n size"]  # of length 1
    texts: Float[Tensor, "n size"]  # of length 1
    captions: Int[Tensor, "n length"]


@dataclass(frozen=True)
class Topic:
    """Pairs whose captions are alike.

    Attributes:
        word: the token that names it.
        looks: rows of the pairs, divided by how the pictures look; no row is in two.
    """

    word: int
    looks: list[Int[ndarray, " rows"]]


class Tasks(NamedTuple):
    """Some tasks; `support` and `query` have the same classes in different looks."""

    names: Names
    support: Features
    query: Features


def organise(
    pairs: Pairs, silent: set[int], seed: int, topics: int, looks: int, least: int
) -> list[Topic]:
    """Cluster captions into topics, then the pictures of each topic into looks.

    Args:
        silent: tokens that name nothing.
        topics, looks: how many; of a topic, how many.
        least: pairs of a look; smaller looks, and topics left with one, are dropped.
    """
    topic = clustered(pairs.texts, topics, seed)
    words = telling_words(pairs.captions, topic, silent, topics)
    found = []
    for number, word in enumerate(words):
        rows = np.flatnonzero(topic == number)
        if len(rows) < looks * least:
            continue
        look = clustered(pairs.images[rows], looks, seed)
        parts = [rows[look == which] for which in range(looks)]
        large = [part for part in parts if len(part) >= least]
        if len(large) > 1:
            found.append(Topic(word, large))
    return found


def clustered(features: Float[Tensor, "n size"], count: int, seed: int) -> ndarray:
    """Return the k-means cluster of each row."""
    return KMeans(count, n_init=1, random_state=seed).fit_predict(features.cpu())


def telling_words(
    captions: Int[Tensor, "n length"], topic: ndarray, silent: set[int], topics: int
) -> list[int]:
    """Return each topic's word of the highest tf-idf: told by many of its captions, and
    by few captions in all.
    """
    most = int(captions.max()) + 1
    told = F.one_hot(captions.cpu(), most).amax(1).double().numpy()  # (n, tokens)
    told[:, [token for token in silent if token < most]] = 0
    rarity = np.log(len(told) / told.sum(0).clip(min=1))
    often = [told[topic == number].mean(0) for number in range(topics)]
    return [int((share * rarity).argmax()) for share in often]


def draw_tasks(
    pairs: Pairs,
    topics: list[Topic],
    chance: np.random.Generator,
    count: int,
    ways: int,
    shots: int,
) -> Tasks:
    """Draw tasks of `ways` topics with different names. Of each class, `shots` pictures
    of one look are the support set, and as many of another look the query set.
    """
    words = sorted({topic.word for topic in topics})
    names, support, query = [], [], []
    for _ in range(count):
        chosen = chance.choice(words, ways, replace=False)
        names.append(chosen)
        for word in chosen:
            named = [topic for topic in topics if topic.word == word]
            topic = named[chance.integers(len(named))]
            near, far = chance.choice(len(topic.looks), 2, replace=False)
            support.append(chance.choice(topic.looks[near], shots, replace=False))
            query.append(chance.choice(topic.looks[far], shots, replace=False))
    device = pairs.images.device
    sets = [
        pairs.images[torch.from_numpy(np.stack(rows)).to(device)]
        for rows in (support, query)
    ]
    split = [each.unflatten(0, (count, ways)) for each in sets]
    return Tasks(torch.from_numpy(np.stack(names))[..., None].to(device), *split)
