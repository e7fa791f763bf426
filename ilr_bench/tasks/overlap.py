r"""Which training questions stand in a benchmark, or among the validation questions.

Two texts are one question where they are equal but for case, white space, punctuation, and what LaTeX writes without
changing a formula (spacing, sizes of brackets, dollar signs). Signs that are part of mathematics stay: `3-5`, `3+5` and
`35` are three questions, and so are `1.5` and `15`. Paraphrases and other numbers in the same story are not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EXAMPLES = 3
"""Questions of each overlap that a message shows."""
_SHOWN = 90
"""Characters of such a question."""
_LAYOUT = re.compile(
    r"\\(?:[,;:!> ]|(?:quad|qquad|thinspace|left|right|displaystyle|textstyle|[bB]igg?[lr]?)(?![A-Za-z])|[()\[\]])|[$~]"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_PIECE = re.compile(r"\d+(?:[.,]\d+)*|\\[a-z]+|[^\W\d_]+|\S")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_PUNCTUATION = frozenset(".,;:?¿¡…\"'`“”„‘’«»")


def normalised(text: str) -> str:
    """A text by which the same question is known in any copy: its words, numbers and signs, with spaces between."""
    plain = unicodedata.normalize("NFKC", text)
    plain = _FRACTION.sub(r"\\frac", _LAYOUT.sub(" ", _APOSTROPHE.sub("", plain))).casefold()
    pieces: list[str] = []
    for piece in _PIECE.findall(plain):
        # After a number, a name or a bracket `!` may be a factorial.
        exclamation = piece == "!" and not (pieces and (pieces[-1][-1].isdigit() or pieces[-1] in ("n", "k", ")")))
        if piece not in _PUNCTUATION and not exclamation:
            pieces.append(piece.replace(",", "") if _THOUSANDS.fullmatch(piece) else piece)
    return " ".join(pieces)


@dataclass(frozen=True)
class Overlap:
    """Training questions that stand somewhere else as well."""

    where: str
    """Such as `the benchmark gsm8k`."""
    pairs: tuple[tuple[str, str, str], ...]
    """Id of the training question, id of the other one, and the training question's text."""
    exact: int
    """How many of them are the same text, letter by letter."""
    of: int
    """Number of training questions in all."""

    def __str__(self) -> str:
        """One line that counts them and shows the first."""
        shown = "; ".join(f"{ours} is {theirs}: {_short(text)!r}" for ours, theirs, text in self.pairs[:EXAMPLES])
        more = "; ..." if len(self.pairs) > EXAMPLES else ""
        same = "letter by letter" if self.exact == len(self.pairs) else f"{self.exact} of them letter by letter"
        return f"{len(self.pairs)} of {self.of} training questions stand in {self.where}, {same} ({shown}{more})"


Texts = Sequence[tuple[str, str]]
"""Ids of questions with their texts."""


def overlaps(training: Texts, others: Mapping[str, Texts]) -> tuple[Overlap, ...]:
    """The training questions that stand in each of some other sets, where any does; `others`: what a set is -> it."""
    ours = [(name, text, normalised(text)) for name, text in training]
    found = []
    for where, rows in others.items():
        theirs: dict[str, tuple[str, set[str]]] = {}
        for name, text in rows:
            theirs.setdefault(normalised(text), (name, set()))[1].add(text.strip())
        pairs = [(name, text, *theirs[key]) for name, text, key in ours if key in theirs]
        if pairs:
            exact = sum(text.strip() in texts for _, text, _, texts in pairs)
            listed = tuple((name, other, text) for name, text, other, _ in pairs)
            found.append(Overlap(where, listed, exact, len(ours)))
    return tuple(found)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
