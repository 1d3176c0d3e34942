"""Keep one setting, `repository.url` in `_config.yml`, the same in every place that follows from it.

    python tools/repository.py show | set URL | check

`set` writes the launch and repository buttons, the first cell and the launch link of every notebook, the README's
badges and CITATION.cff; `set ""` takes all of it away again. `check` names the places that say something else.
It needs nothing but Python, so that it runs before anything is installed.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
URL = re.compile(r"https://(?P<host>[\w.-]+\.\w+(:\d+)?)/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)")
BADGES = re.compile(r"(?<=<!-- badges -->).*?(?=<!-- /badges -->)", re.DOTALL)
COLAB = "https://colab.research.google.com"

SETUP = """\
from importlib.util import find_spec

if find_spec("stages") is None:
    {action}"""
INSTALL = '%pip install -q "learning-in-stages @ git+{url}"'
EXPLAIN = """\
raise ModuleNotFoundError(
        "run `pip install .` in the book's folder, then restart the kernel"
    )"""


def main(arguments: list[str]) -> int:
    """Run one command; the exit status is 1 when `check` finds a difference and 2 for a wrong call."""
    try:
        match arguments:
            case ["show"]:
                print(current() or "no address is set; set one with: make repository URL=https://host/owner/name")
            case ["set", url]:
                for path in write(url):
                    print(f"wrote {path}")
            case ["check"]:
                for fault in (faults := check()):
                    print(fault)
                return int(bool(faults))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def current(root: Path = ROOT) -> str:
    """Return the address in `_config.yml`, "" while there is none."""
    found = re.search(r'^  url: "(.*)"$', (root / "_config.yml").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError('_config.yml has no line `  url: "..."` under `repository:`')
    return found[1]


def write(url: str, root: Path = ROOT) -> list[Path]:
    """Set the address everywhere ("" for none) and return the files that changed.

    Raises:
        ValueError: the address is not https://host/owner/name, or a file has no place for it; nothing is written then.
    """
    url = url.strip().removesuffix("/").removesuffix(".git")
    if url and not URL.fullmatch(url):
        raise ValueError(f"{url!r} is not the address of a repository; write https://host/owner/name")
    texts = rendered(url, root)
    changed = [path for path, text in texts.items() if text != path.read_text(encoding="utf-8")]
    for path in changed:
        path.write_text(texts[path], encoding="utf-8")
    return [path.relative_to(root) for path in changed]


def check(root: Path = ROOT) -> list[str]:
    """Name each file that disagrees with `_config.yml`, a line a file."""
    url = current(root)
    differs = [path for path, text in rendered(url, root).items() if text != path.read_text(encoding="utf-8")]
    return [
        f"{path.relative_to(root)} disagrees with repository.url in _config.yml; run: make repository URL={url}"
        for path in differs
    ]


def rendered(url: str, root: Path) -> dict[Path, str]:
    """Return every file that mentions the address, as it must read for `url`."""
    writers = {"_config.yml": config, "README.md": readme, "CITATION.cff": citation}
    texts = {root / name: writer((root / name).read_text(encoding="utf-8"), url) for name, writer in writers.items()}
    for path in sorted((root / "chapters").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            texts[path] = notebook(path.read_text(encoding="utf-8"), url, path.relative_to(root).as_posix())
    return texts


def config(text: str, url: str) -> str:
    """Set the address and the buttons that need it: a host that the theme does not know gets none.

    The theme guesses the provider from the host, and wants to be told one where it cannot.
    """
    host = host_of(url)
    guessed = not url or any(provider in host for provider in ("github", "gitlab", "bitbucket"))
    values = {
        "url": f'"{url}"',
        "repository_provider": '""' if guessed else '"github"',
        "colab_url": f'"{COLAB}"' if host == "github.com" else '""',
        "use_repository_button": str(host in ("github.com", "gitlab.com", "bitbucket.org")).lower(),
        "use_issues_button": str(host in ("github.com", "gitlab.com")).lower(),
    }
    for key, value in values.items():
        text = replace(rf"(?m)(^ +{key}: ).*$", rf"\g<1>{value}", text, f"_config.yml has no line `{key}:`")
    return text


def readme(text: str, url: str) -> str:
    """Fill the README's line of badges."""
    badges = ""
    if host_of(url) == "github.com":
        tests = f"{url}/actions/workflows/test.yml"
        badges = f"\n[![tests]({tests}/badge.svg)]({tests}) [Read the book online]({pages(url)})\n"
    return replace(BADGES, badges, text, "README.md has no <!-- badges --><!-- /badges -->")


def citation(text: str, url: str) -> str:
    """Add or remove `repository-code`, which follows the line of the version."""
    text = re.sub(r"(?m)^repository-code: .*\n", "", text)
    line = f'repository-code: "{url}"\n' if url else ""
    return replace(r"(?m)(?<=\n)(version: .*\n)", rf"\g<1>{line}", text, "CITATION.cff has no line `version:`")


def notebook(text: str, url: str, name: str) -> str:
    """Fill the launch link in a notebook's opening cell and write its first code cell."""
    content = json.loads(text)
    opening = next(cell for cell in content["cells"] if cell["cell_type"] == "markdown")
    first = next((cell for cell in content["cells"] if cell["cell_type"] == "code"), None)
    if first is None or "setup" not in first["metadata"].get("tags", []):
        raise ValueError(f"the first code cell of {name} is not tagged `setup`")
    link = f" · [Run in Colab]({colab(url, name)})" if host_of(url) == "github.com" else ""
    opened = replace(BADGES, link, "".join(opening["source"]), f"the opening of {name} has no <!-- badges --> markers")
    opening["source"] = opened.splitlines(keepends=True)
    first["source"] = setup(url).splitlines(keepends=True)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def setup(url: str) -> str:
    """Return the code of a notebook's first cell."""
    return SETUP.format(action=INSTALL.format(url=url) if url else EXPLAIN)


def host_of(url: str) -> str:
    found = URL.fullmatch(url)
    return found["host"] if found else ""


def pages(url: str) -> str:
    """Return where GitHub publishes the book."""
    found = URL.fullmatch(url)
    return f"https://{found['owner'].lower()}.github.io/{found['name']}/"


def colab(url: str, name: str) -> str:
    """Return the address that opens the notebook `name` in Colab."""
    found = URL.fullmatch(url)
    return f"{COLAB}/github/{found['owner']}/{found['name']}/blob/main/{name}"


def replace(pattern: str | re.Pattern, value: str, text: str, missing: str) -> str:
    text, count = re.subn(pattern, value, text, count=1)
    if not count:
        raise ValueError(missing)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
