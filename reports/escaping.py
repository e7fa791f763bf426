"""Text that people or models wrote (names of models, folders, variants, answers), made safe for each format.

HTML is escaped by the templates (`reports.tables.writer.html_template`), drawings by matplotlib.
"""

from __future__ import annotations

import re
from typing import Any

APOSTROPHE = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula, or leaves out before it looks for one."""
_AFTER_SEMICOLON = re.compile(rf";[\s\"]*(?=[{re.escape(''.join(_FORMULA))}])")
_MARKUP = re.compile(
    r"""
    [*|`~$]                                  # emphasis, cells, code, struck text, formulas
    | \\(?=[!-/:-@\[-`{-~])                  # would escape what follows
    | (?<![^\W_])_|_(?![^\W_])               # emphasis; inside a word an underscore is one
    | (?<=\])(?=[(\[:])                      # a link, a picture, a definition of one
    | <(?=[A-Za-z/!?])                       # HTML
    | &(?=\#\w+;|\w+;)                       # a sign by its name or number
    """,
    re.VERBOSE,
)
_ENTITIES = {"<": "&lt;", "&": "&amp;"}
_TEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "_": "\\_", "#": "\\#", "$": "\\$", "{": "\\{", "}": "\\}",
    "±": "$\\pm$", "–": "--", "<": "$<$", ">": "$>$", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    "`": "\\textasciigrave{}", "†": "$\\dagger$", "×": "$\\times$", "…": "\\ldots{}",
}  # fmt: skip


def csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe. Numbers stay.

    So does what follows a semicolon, at which spreadsheets of many countries begin a cell. Ends of lines become
    spaces, since Python quotes no carriage return that stands alone.
    """
    if not isinstance(value, str) or _is_number(value):
        return value
    text = _AFTER_SEMICOLON.sub(rf"\g<0>{APOSTROPHE}", printable(value))
    return f"{APOSTROPHE if value.startswith(_FORMULA) else ''}{text}"


def markdown(text: str) -> str:
    """One line of text in which nothing is markup: no cell, emphasis, code, link, picture or HTML comes of it."""
    return _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), printable(text))


def markdown_code(text: str) -> str:
    """One line as code, whatever backticks it holds; not for cells of a table, which a stroke ends even in code."""
    text = printable(text)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text or not text else f"`{text}`"


def tex(text: str) -> str:
    """Text of a LaTeX document in the T1 or OT1 encoding: what those lack stands as its number in Unicode."""
    found = "".join(_tex_sign(sign) for sign in printable(text))
    # After the end of a line of a table LaTeX takes these for its option.
    return f"{{{found[0]}}}{found[1:]}" if found.startswith(("[", "*")) else found


def _tex_sign(sign: str) -> str:
    return _TEX.get(sign, sign if ord(sign) < 0x180 else f"\\texttt{{U+{ord(sign):04X}}}")


def printable(text: str) -> str:
    """One line, without what would steer a terminal, reverse a line or exist in no file."""
    signs = (" " if sign.isspace() else sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return "".join(signs)


def visible(text: str) -> str:
    """Text as it stands, with signs in place of those that nobody sees: control signs, and what reverses a line."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else _picture(sign) for sign in text)


def _picture(sign: str) -> str:
    code = ord(sign)
    if code < 0x20 or code == 0x7F:
        return chr(0x2421 if code == 0x7F else 0x2400 + code)
    # Of the rest spaces stay, but for those that end a line.
    return sign if sign.isspace() and sign not in "\x85\u2028\u2029" else f"\\u{code:04x}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text.isprintable()
