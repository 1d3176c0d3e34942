"""The public face of a paper's package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.evidence.claims import HEADLINE, Claim

if TYPE_CHECKING:
    from stages.evidence.gates import Gate
    from stages.evidence.outcomes import Outcome

FEWEST, MOST = 3, 6  # claims a paper
PROFILES = ("probe", "quick", "full")


@dataclass(frozen=True)
class Paper:
    """A paper as the book tests it.

    Attributes:
        slug: "<chapter>/<paper>", the paper's address in all five rooms of the book.
        title, arxiv, year: the citation; `bibkey` is its key in `references.bib`.
        claims: three to six, fixed before the experiment was tuned; the first is C1,
            the paper's headline.
        also: what else is measured, to explain the verdicts; it gets no verdict.
        gates: conditions without which the claims mean nothing.
        deviations: what was changed after it had been fixed, a sentence each.
        profiles: frozen dataclasses of settings. "probe" goes through every arm and
            metric in seconds, "quick" runs live in the notebook, "full" is the evidence
            of record.
        run: `run(settings, seed) -> Outcome`, a pure function at the top level of its
            module: the same settings, seed, device and number of threads give the same
            numbers.

    Raises:
        ValueError: fewer than three claims or more than six, a first claim that is not
            C1, a key that comes twice, or a profile that is absent.
    """

    slug: str
    title: str
    arxiv: str
    year: int
    bibkey: str
    claims: tuple[Claim, ...]
    profiles: Mapping[str, Any]
    run: Callable[[Any, int], Outcome]
    also: tuple[Claim, ...] = ()
    gates: tuple[Gate, ...] = ()
    deviations: tuple[str, ...] = ()

    def __post_init__(self):
        if not FEWEST <= len(self.claims) <= MOST:
            raise ValueError(
                f"{self.slug} has {len(self.claims)} claims; a paper has {FEWEST} to"
                f" {MOST}, and what else is measured goes to `also`"
            )
        keys = [claim.key for claim in (*self.claims, *self.also)]
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self.slug}: two claims have one key among {keys}")
        if keys[0] != HEADLINE:
            raise ValueError(f"{self.slug}: the first claim is {keys[0]}, not C1")
        if missing := set(PROFILES) - set(self.profiles):
            raise ValueError(
                f"{self.slug}: no profile {', '.join(sorted(missing))}; a paper has"
                f" {', '.join(PROFILES)}"
            )

    @property
    def url(self) -> str:
        """The paper on arXiv."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    def settings(self, profile: str) -> Any:
        """Return the settings of a profile. Raises ValueError naming all there are."""
        if profile not in self.profiles:
            raise ValueError(
                f"{self.slug} has no profile {profile!r}; it has"
                f" {', '.join(self.profiles)}"
            )
        return self.profiles[profile]
