"""The address of the repository is one setting, and every place that needs it follows."""

import json
import shutil
from pathlib import Path

import pytest
import repository
import yaml

BOOK = Path(__file__).resolve().parents[1]
GITHUB = "https://github.com/owner/book"


@pytest.fixture
def book(tmp_path):
    """A copy of everything that knows the address, without one, and a notebook that is surely there."""
    for name in ("_config.yml", "README.md", "CITATION.cff"):
        shutil.copy(BOOK / name, tmp_path)
    notebooks = shutil.ignore_patterns("*.md", ".ipynb_checkpoints")
    shutil.copytree(BOOK / "chapters", tmp_path / "chapters", ignore=notebooks)
    opening = {
        "cell_type": "markdown",
        "metadata": {},
        "source": ["# σ<!-- badges --><!-- /badges -->"],
    }
    first = {"cell_type": "code", "metadata": {"tags": ["setup"]}, "outputs": [], "execution_count": 1}
    cells = [opening, {**first, "source": repository.setup("").splitlines(keepends=True)}]
    extra = json.dumps(
        {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1, ensure_ascii=False
    )
    (tmp_path / "chapters/extra.ipynb").write_text(extra + "\n", encoding="utf-8")
    repository.write("", tmp_path)
    return tmp_path


def contents(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_place_of_the_book_holds_one_value():
    assert repository.check() == []


def test_without_an_address_nothing_leads_anywhere(book):
    config = yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == config["launch_buttons"]["colab_url"] == ""
    assert not config["html"]["use_repository_button"]
    assert not config["html"]["use_issues_button"]
    for name, text in contents(book).items():
        assert b"colab.research" not in text, name
        assert b"badge.svg" not in text, name


def test_setting_changing_and_unsetting_gives_back_every_byte(book):
    unset = contents(book)
    changed = repository.write(GITHUB, book)
    assert len(changed) == len(unset)
    first = contents(book)
    repository.write("https://github.com/another/place.git/", book)
    assert repository.current(book) == "https://github.com/another/place"
    assert not any(b"owner/book" in text for text in contents(book).values())
    repository.write(GITHUB, book)
    assert contents(book) == first
    assert repository.write(GITHUB, book) == []
    repository.write("", book)
    assert contents(book) == unset


def test_the_address_reaches_every_place(book):
    repository.write(GITHUB, book)
    assert repository.check(book) == []
    config = yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == GITHUB
    assert config["html"]["use_repository_button"]
    assert config["launch_buttons"]["colab_url"]
    assert yaml.safe_load((book / "CITATION.cff").read_text(encoding="utf-8"))["repository-code"] == GITHUB
    assert f"{GITHUB}/actions" in (book / "README.md").read_text(encoding="utf-8")
    opening, first = json.loads((book / "chapters/extra.ipynb").read_text(encoding="utf-8"))["cells"]
    assert "[Run in Colab](https://colab.research.google.com/github/owner/book/blob/main/chapters/extra.ipynb)" in (
        "".join(opening["source"])
    )
    assert f'%pip install -q "learning-in-stages @ git+{GITHUB}"' in "".join(first["source"])


def test_another_host_gets_no_button_that_would_not_work(book):
    repository.write("https://git.example.org/owner/book", book)
    config = yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))
    assert config["launch_buttons"]["colab_url"] == ""
    assert not config["html"]["use_repository_button"]
    assert config["sphinx"]["config"]["html_theme_options"]["repository_provider"], "the theme cannot guess it"
    assert b"Run in Colab" not in (book / "chapters/extra.ipynb").read_bytes()
    assert b"git+https://git.example.org/owner/book" in (book / "chapters/extra.ipynb").read_bytes()


def test_a_place_that_was_edited_by_hand_is_named(book):
    citation = book / "CITATION.cff"
    citation.write_text(citation.read_text(encoding="utf-8") + f'repository-code: "{GITHUB}"\n', encoding="utf-8")
    (fault,) = repository.check(book)
    assert "CITATION.cff" in fault


@pytest.mark.parametrize(
    "url",
    ["github.com/owner/book", "http://github.com/owner/book", "https://github.com/owner", "https://a.b/c/d/e", "x y"],
)
def test_a_bad_address_is_refused_and_nothing_changes(book, url, capsys):
    before = contents(book)
    with pytest.raises(ValueError, match="https://host/owner/name"):
        repository.write(url, book)
    assert contents(book) == before
    assert repository.main(["set", url]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_notebook_without_its_first_cell_is_named_and_nothing_changes(book):
    bare = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": []}], "metadata": {}}
    (book / "chapters/bare.ipynb").write_text(json.dumps(bare), encoding="utf-8")
    before = contents(book)
    with pytest.raises(ValueError, match=r"chapters/bare\.ipynb"):
        repository.write(GITHUB, book)
    assert contents(book) == before
