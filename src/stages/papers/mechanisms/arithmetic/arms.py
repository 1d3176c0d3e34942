"""What is compared: four formats, and scratchpads with random labels."""

from dataclasses import dataclass

from stages.papers.mechanisms.arithmetic.method import (
    FORMATS,
    Digits,
    Format,
    Written,
    add,
    asked,
    labelled,
    number,
    own,
    write,
)
from stages.seeding import rng
from stages.worlds.arithmetic import Lines, Problems

PLAIN, REVERSE, SIMPLIFIED, DETAILED = FORMATS
RANDOM_A = "random A"
RANDOM_C = "random C"
RANDOM_BOTH = "random A and C"


@dataclass(frozen=True)
class Arm:
    """How sums are written.

    Attributes:
        form: one of `FORMATS`; its learning rate is the arm's.
        random_digits, random_carries: in the simplified scratchpad, whether the labels
            A or C of training lines are drawn at random. The sum below them stays
            right.
        longer: times the number of updates.
    """

    form: str
    random_digits: bool = False
    random_carries: bool = False
    longer: int = 1

    def write(self, problems: Problems, seed: int) -> Lines:
        """Write training lines; the seed is that of random labels."""
        if self.random_digits or self.random_carries:
            return write(problems, self.with_random_labels(seed))
        return write(problems, FORMATS[self.form])

    def with_random_labels(self, seed: int) -> Format:
        """Return the simplified scratchpad with labels drawn line by line."""
        of_digits = rng(seed, "scratchpad", "digits")
        of_carries = rng(seed, "scratchpad", "carries")

        def form(a: Digits, b: Digits, base: int) -> Written:
            s, c = add(a, b, base)
            digits = s[:-1]
            if self.random_digits:
                digits = of_digits.integers(base, size=len(a)).tolist()
            if self.random_carries:
                c = of_carries.integers(2, size=len(a)).tolist()
            return asked(a, b), f"{labelled(digits, c)}{number(own(s))}\n"

        return form


ARMS = {form: Arm(form) for form in FORMATS} | {
    RANDOM_A: Arm(SIMPLIFIED, random_digits=True),
    RANDOM_C: Arm(SIMPLIFIED, random_carries=True),
    RANDOM_BOTH: Arm(SIMPLIFIED, random_digits=True, random_carries=True),
}
