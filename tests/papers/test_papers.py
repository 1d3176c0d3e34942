import pytest

from stages import papers


def test_slugs_are_chapter_and_paper_in_order():
    slugs = papers.slugs()
    assert "continual/power_law_rehearsal" in slugs
    assert slugs == sorted(set(slugs))
    assert not [slug for slug in slugs if slug.endswith(("common", "__init__"))]


@pytest.mark.parametrize("slug", papers.slugs())
def test_every_paper_loads_under_its_own_slug(slug):
    paper = papers.load(slug)
    assert paper.slug == slug
    home = f"stages.papers.{slug.replace('/', '.')}"
    assert paper.run.__module__ in (home, f"{home}.experiment"), "other processes import it from there"


@pytest.mark.parametrize("slug", papers.slugs())
def test_few_claims_are_the_books_own(slug):
    assert sum(claim.origin == "ours" for claim in papers.load(slug).claims) <= 2


@pytest.mark.parametrize("typed", ["continual/power_law_rehersal", "power_law_rehearsal", "continual/powerlaw"])
def test_an_unknown_slug_names_the_nearest(typed):
    with pytest.raises(ValueError, match=r"did you mean (continual/)?power_law_rehearsal\?"):
        papers.load(typed)


def test_what_is_like_nothing_is_pointed_to_the_list():
    with pytest.raises(ValueError, match=r"no paper '123'.* `stages list` shows all") as caught:
        papers.load("123")
    assert "did you mean" not in str(caught.value)
