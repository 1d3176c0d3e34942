"""The public face of a paper's module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.evidence.claims import Claim
from stages.evidence.outcomes import Outcome


@dataclass(frozen=True)
class Paper:
    """A paper as the book tests it.

    Attributes:
        slug: "<chapter>/<paper>", the paper's address in all five rooms of the book.
        title, arxiv, year: the citation; `bibkey` is its key in `references.bib`.
        claims: fixed before the experiment was tuned; the first is the headline.
        profiles: frozen dataclasses of settings. "quick" runs live in the notebook,
            "full" is the evidence of record.
        run: `run(settings, seed) -> Outcome`, a pure function at the top level of its
            module: the same settings, seed, device and number of threads give the same
            numbers.
    """

    slug: str
    title: str
    arxiv: str
    year: int
    bibkey: str
    claims: tuple[Claim, ...]
    profiles: Mapping[str, Any]
    run: Callable[[Any, int], Outcome]

    def __post_init__(self):
        keys = [claim.key for claim in self.claims]
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self.slug}: two claims have one key among {keys}")
        if missing := {"quick", "full"} - set(self.profiles):
            raise ValueError(f"{self.slug}: no profile {', '.join(sorted(missing))}")

    @property
    def url(self) -> str:
        """The paper on arXiv."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    def settings(self, profile: str) -> Any:
        """Return the settings of a profile. Raises ValueError naming the profiles there
        are.
        """
        if profile not in self.profiles:
            raise ValueError(
                f"{self.slug} has no profile {profile!r}; it has"
                f" {', '.join(self.profiles)}"
            )
        return self.profiles[profile]
