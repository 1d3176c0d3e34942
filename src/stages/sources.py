"""Python source as text: what is left when its docstrings are taken out."""

import ast

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def without_docstrings(code: str) -> str:
    """Return source without the lines of its docstrings; all else stays as written.

    A blank line after a docstring goes with it, a comment beside one stays (the tag of
    an equation, say), and a body that was only a docstring becomes `...`.

    Raises:
        SyntaxError: `code` is not Python.
    """
    lines: list[str | None] = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            _drop(lines, node)
    return "\n".join(line for line in lines if line is not None)


def _drop(lines: list[str | None], node: ast.AST) -> None:
    """Set the lines of a node's docstring to None, or to what has to stay of them."""
    text = node.body[0]
    first = text.lineno - 1
    last = text.end_lineno
    # ast counts columns in bytes
    beside = lines[last - 1].encode()[text.end_col_offset :].decode().strip()
    alone = len(node.body) == 1 and not isinstance(node, ast.Module)
    stays = [" " * text.col_offset + word for word in (beside, "..." * alone) if word]
    if not stays and last < len(lines) and not (lines[last] or "").strip():
        last += 1
    lines[first:last] = [None] * (last - first)
    if stays:
        lines[first] = "\n".join(stays)
