"""The small language: its words, its laws as they are found again in a corpus, its facts, its windows."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from stages.worlds import tinytext
from stages.worlds.tinytext.corpus import SLOTS, forms
from stages.worlds.tinytext.lexicon import ADJECTIVES, FACTS, NAMES, PROSE, RELATIONS, TOPICS, VERBS, words
from stages.worlds.vocabulary import PAD

VOCABULARY = tinytext.vocabulary()


def sentences(text):
    """Split a text at its full stops; the last sentence may be cut, so it is left out."""
    return [sentence.split() for sentence in text.split(" .")[:-1]]


@pytest.fixture(scope="module")
def text():
    return VOCABULARY.decode(tinytext.corpus(200_000, seed=1))


def test_a_corpus_depends_on_seed_and_stream_alone_and_has_the_length_asked_for():
    one = tinytext.corpus(5000, seed=3)
    assert one.shape == (5000,)
    assert torch.equal(one, tinytext.corpus(5000, seed=3))
    assert not torch.equal(one, tinytext.corpus(5000, seed=4))
    assert not torch.equal(one, tinytext.corpus(5000, seed=3, stream=("held out",)))
    assert PAD not in tinytext.corpus(200_000, seed=1)
    assert len(tinytext.corpus(1, seed=0)) == 1


def test_further_words_are_numbered_after_the_others():
    more = tinytext.vocabulary(("please", "answer"))
    assert more.tokens[:-2] == VOCABULARY.tokens
    assert len(set(VOCABULARY.tokens)) == len(VOCABULARY) == 231


def test_every_sentence_has_one_of_the_forms_and_every_word_is_used(text):
    assert set(text.split()) == set(VOCABULARY.tokens[1:])
    kinds = {word: "noun" for topic in TOPICS.values() for word in words(topic)}
    for kind, listed in (("verb", VERBS), ("adjective", ADJECTIVES), ("name", NAMES)):
        kinds |= dict.fromkeys(words(listed), kind)
    slots = {"SUBJECT": "noun", "OBJECT": "noun", "VERB": "verb", "REPLY": "verb", "TASK": "verb", "NAME": "name"}
    known = set()
    for form in (*PROSE, *(form for several in FACTS.values() for form in several)):
        known.add(tuple(slots.get(word, word.lower() if word == "ADJECTIVE" else word) for word in form.split()))
    lengths = {len(form) - 1 for form in known}
    shapes = {tuple(kinds.get(word, word) for word in sentence) for sentence in sentences(text)}
    assert {len(shape) for shape in shapes} == lengths
    assert ("the", "noun", "verb", "the", "noun") in shapes
    assert ("when", "the", "noun", "verb", "the", "noun", ",", "the", "noun", "verb", "the", "noun") in shapes


def test_form_tables_mark_slots_below_zero():
    table = forms()
    assert table.min() == -len(SLOTS)
    assert len(table) == len(PROSE) + sum(map(len, FACTS.values()))
    row = table[PROSE.index("the SUBJECT is ADJECTIVE .")]
    assert [VOCABULARY.tokens[i] if i > 0 else SLOTS[-i - 1] for i in row[:4]] == ["the", "SUBJECT", "is", "ADJECTIVE"]


def test_facts_are_those_of_the_grammar_and_the_pronoun_is_the_entitys(text):
    facts = tinytext.grammar().facts
    names = list(words(NAMES))
    last = None
    told = set()
    for sentence in sentences(text):
        last = next((word for word in sentence if word in names), last)
        for relation, verb in (("home", "lives"), ("pet", "keeps"), ("colour", "likes"), ("job", "works")):
            if verb in sentence and last:
                value = words(RELATIONS[relation])[facts[names.index(last), list(RELATIONS).index(relation)]]
                assert sentence[-1] == value, sentence
                told.add((last, relation))
        if last and sentence[0] in ("she", "he"):
            assert sentence[0] == ("she", "he")[names.index(last) % 2]
    assert len(told) == 4 * len(names)


def test_documents_keep_to_the_entities_asked_for():
    kept_back = np.flatnonzero(tinytext.grammar().held_out)
    assert len(kept_back) == 12
    others = np.flatnonzero(~tinytext.grammar().held_out)
    text = VOCABULARY.decode(tinytext.corpus(20_000, seed=0, entities=others)).split()
    names = words(NAMES)
    assert {names.index(word) for word in text if word in names} == set(others.tolist())


def test_words_follow_the_grammars_laws(text):
    laws = tinytext.grammar()
    for law in (laws.noun, laws.verb, laws.adjective, laws.object, laws.adverb, laws.task):
        np.testing.assert_allclose(law.sum(-1), 1)
    nouns = [word for topic in TOPICS.values() for word in words(topic)]
    verbs = list(words(VERBS))
    found = np.zeros((len(nouns), len(verbs)))
    subjects = np.zeros(len(nouns))
    for sentence in sentences(text):
        for noun, verb in pairwise(sentence):
            if noun in nouns and verb in verbs:
                found[nouns.index(noun), verbs.index(verb)] += 1
        if sentence[0] == "the" and sentence[1] in nouns:
            subjects[nouns.index(sentence[1])] += 1
    often = found.sum(1) > 200
    shares = found[often] / found[often].sum(1, keepdims=True)
    assert often.sum() > 5
    assert np.abs(shares - laws.verb[often]).max() < 0.1
    frequency = subjects.reshape(len(TOPICS), -1)
    frequency = frequency / frequency.sum(1, keepdims=True)
    assert np.abs(frequency - laws.noun).max() < 0.05


def test_windows_are_cut_out_of_the_text_and_follow_the_seed():
    text = torch.arange(100)
    cut = tinytext.windows(text, 500, 7, 0, "a")
    assert (cut[:, 1:] - cut[:, :-1] == 1).all()
    assert cut[:, 0].min() == 0
    assert cut[:, -1].max() == 99
    assert torch.equal(cut, tinytext.windows(text, 500, 7, 0, "a"))
    assert not torch.equal(cut, tinytext.windows(text, 500, 7, 0, "b"))


def test_bad_requests_are_told():
    with pytest.raises(ValueError, match="1 or more tokens"):
        tinytext.corpus(0, seed=0)
    with pytest.raises(ValueError, match="entities from 0 to 47"):
        tinytext.corpus(10, seed=0, entities=[48])
    with pytest.raises(ValueError, match="the text has 5"):
        tinytext.windows(torch.arange(5), 1, 6, 0)
