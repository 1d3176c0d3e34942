"""The words of the small language, by what they do in a sentence, and its sentences."""

from functools import cache

from stages.worlds.vocabulary import Vocabulary

TOPICS = {
    "kitchen": "bread soup pan knife cook stove salt butter onion bowl spoon cake",
    "garden": "rose tree bee worm seed spade gardener leaf apple fence pond frog",
    "harbour": "boat net fish sailor rope gull anchor wave crab captain sail storm",
    "market": "coin basket merchant scale cheese egg cloth buyer cart bell thief lamp",
    "forest": "wolf deer oak mushroom hunter path owl moss berry fox axe stream",
    "school": "pupil book teacher pencil map desk clock chalk song rule letter prize",
}
VERBS = (
    "sees finds takes moves holds breaks cleans hides wants needs follows leaves"
    " meets turns opens carries paints watches covers drops pulls fears sells counts"
)
ADJECTIVES = (
    "old new small large cold warm dark bright wet dry soft hard clean heavy light"
    " quiet loud sweet sharp round long broken empty strange"
)
ADVERBS = "often never always soon slowly gladly rarely again"
NAMES = (  # those at even places are "she", the others "he"
    "ada abel bea boris cleo carl dora dan elsa emil faye felix gina gus hana hugo"
    " iris ivan jane jack kate karl lena leo maud max nora nils olga otto pia paul"
    " rita rolf sara sven tess theo una uwe vera vito wilma will xenia yuri yara zeno"
)
RELATIONS = {  # what is known of each entity
    "home": "attic tower cellar barn cabin palace tent mill",
    "job": "baker pilot nurse farmer singer judge miner tailor",
    "colour": "red blue green yellow purple orange white black",
    "pet": "cat dog horse hen goat parrot rabbit snake",
}
OTHER = "the a and is are in of she he as when both , . lives works likes keeps" + (
    " home job colour pet"
)

# SUBJECT and OBJECT are nouns of a document's topic, NAME is its entity; ADVERB is one
# of the verb's, REPLY a verb of the object, TASK one of the entity's job, PLACE any
# home.
PROSE = (
    "the SUBJECT VERB the OBJECT .",
    "the ADJECTIVE SUBJECT ADVERB VERB the OBJECT .",
    "the SUBJECT is ADJECTIVE .",
    "the SUBJECT and the OBJECT are both ADJECTIVE .",
    "when the SUBJECT VERB the OBJECT , the OBJECT REPLY the SUBJECT .",
    "NAME TASK the OBJECT and SHE TASK the SUBJECT .",
    "SHE TASK the OBJECT in the PLACE .",
)
FACTS = {
    "home": (
        "NAME lives in the HOME .",
        "SHE lives in the HOME .",
        "the home of NAME is the HOME .",
    ),
    "job": (
        "NAME works as a JOB .",
        "SHE works as a JOB .",
        "the job of NAME is JOB .",
    ),
    "colour": (
        "NAME likes COLOUR .",
        "SHE likes COLOUR .",
        "the colour of NAME is COLOUR .",
    ),
    "pet": (
        "NAME keeps a PET .",
        "SHE keeps a PET .",
        "the pet of NAME is a PET .",
    ),
}


def words(text: str) -> tuple[str, ...]:
    """Split a list of words."""
    return tuple(text.split())


@cache
def vocabulary(more: tuple[str, ...] = ()) -> Vocabulary:
    """Return all words, with their numbers.

    Args:
        more: words of another chapter's own; they are numbered after the others, so
            that text encoded without them stays as it is.
    """
    lists = [
        *TOPICS.values(),
        VERBS,
        ADJECTIVES,
        ADVERBS,
        NAMES,
        *RELATIONS.values(),
        OTHER,
    ]
    return Vocabulary([*words(" ".join(lists)), *more])


def numbers(text: str) -> list[int]:
    """Return the numbers of a list of words."""
    return [vocabulary().number[word] for word in words(text)]
