"""What the book's HTML outputs share: colours that follow the page's theme, and nothing
fetched from elsewhere.

Each colour asks the theme of the page it finds itself on: the book's
(pydata-sphinx-theme), JupyterLab's, VS Code's. Where there is none, it follows the
reader's system.
"""

import re

_THEMES = {  # ours: (the book's, JupyterLab's, VS Code's, light, dark)
    "text": (
        "--pst-color-text-base",
        "--jp-content-font-color1",
        "--vscode-foreground",
        "#26262b",
        "#dcdee2",
    ),
    "muted": (
        "--pst-color-text-muted",
        "--jp-content-font-color2",
        "--vscode-descriptionForeground",
        "#5d6068",
        "#a3a8b1",
    ),
    "line": (
        "--pst-color-border",
        "--jp-border-color2",
        "--vscode-panel-border",
        "#d9d6cc",
        "#454a54",
    ),
    "wash": (
        "--pst-color-surface",
        "--jp-layout-color2",
        "--vscode-textBlockQuote-background",
        "#f4f2ec",
        "#262a31",
    ),
    "accent": (
        "--pst-color-primary",
        "--jp-brand-color1",
        "--vscode-focusBorder",
        "#0072b2",
        "#6db8e8",
    ),
}

_BASE = """
.stages{color:var(--st-text);font-size:.92em;line-height:1.45;
container-type:inline-size}
.stages .stages{font-size:1em}
.stages *{box-sizing:border-box}.stages [hidden]{display:none!important}
.cell_output .text_html:has(.stages){background:none!important;color:inherit!important;
padding:0!important}
"""


def css(rules: str, tokens: dict[str, tuple[str, str]] | None = None) -> str:
    """Return a <style> element with the rules and the variables --st-text, -muted,
    -line, -wash and -accent.

    Args:
        rules: CSS, every selector beginning with a class of its own.
        tokens: more variables --st-NAME, as (colour on a light page, colour on a dark
            one).
    """
    tokens = tokens or {}

    def variables(dark: int) -> str:
        own = [f"--st-{name}:{pair[dark]}" for name, pair in tokens.items()]
        theme = [
            f"--st-{name}:var({book},var({lab},var({code},{pair[dark]})))"
            for name, (book, lab, code, *pair) in _THEMES.items()
        ]
        return ";".join(own + theme)

    night = variables(dark=1)
    sheet = (
        f".stages{{{variables(dark=0)}}}:is(html[data-theme=dark],[data-jp-theme-light=false],.vscode-dark)"
        f" .stages{{{night}}}@media(prefers-color-scheme:dark){{html:not([data-theme])"
        f" body:not([data-jp-theme-light],.vscode-light) .stages{{{night}}}}}"
    )
    joined = re.sub(r"\s*\n\s*", "", _BASE + rules)
    return f"<style>{sheet}{joined}</style>"
