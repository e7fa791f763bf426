r"""The letter of the one option that an answer names, and hedges between several options, which name none.

Behind an option's letter stand the option's own words (`B. seven`) or a remark (`B, because C is wrong`). Own words
may hold letters of any kind (`D. both A and C`) unless a word that hedges stands beside them. In a remark every other
letter counts as a second answer, unless it is denied or belongs to a reason.
"""

from __future__ import annotations

import re
import unicodedata

_NEAR = 120
"""Characters before and behind a letter that may decide on it, so that no answer takes long."""
_DRESS = re.compile(
    r"\\(?:text|math|emph|underline|bf|rm|it|sf|tt|boldsymbol|bm|mbox|hbox|boxed|fbox|large|Large|left|right|displaystyle"
    r"|q?quad|[,;:! ])(?:bf|rm|it|sf|tt|bb|cal|frak|normal|up)?(?![A-Za-z])|[{}$~`\x22“”]|\*\*?|\\"
)
_NAMED = re.compile(
    r"(?:the )?(?:(?:final |correct |right )?(?:answer|option|choice|letter)(?: is)?:? *)+(?=\W*[A-Za-z]\b)", re.I
)
_LETTER = re.compile(
    r"\((?P<inside>[A-Za-z])\)|\[(?P<square>[A-Z])\]|(?P<plain>[A-Z])(?![A-Za-z'])|(?P<small>[a-z])(?=[.):]|$)"
)
_QUOTED = re.compile(r"^(?:[#<'‘] *([A-Za-z])|([A-Z]))[>'’](?![A-Za-z])|^# *(?=[A-Z](?![A-Za-z]))")
_ARROW = re.compile(r"\\(?:Right|right|Longright|longright)arrow(?![A-Za-z])|\\(?:implies|to)(?![A-Za-z])|[→⇒]")
_SPACED_MARK = re.compile(r" ([.,:;)\]])|([(\[]) ")
_SURE = r" (?:because|since|rather than|instead of|is (?:the )?(?:correct|right|best|answer))\b"
_WORDS = re.compile(rf"[.:,)]* *$| *[.):,;=]+ *\S|[.):,]* *(?:\(|[-–—] |—)|(?<=[)\]]) *\S|{_SURE}")
_REMARK = re.compile(rf"[.):]* *[,;?(/|&]|[.):]* [-–—] |—|{_SURE}")
_OTHER = re.compile(
    r"(?<![A-Za-z0-9°'])(?<![\d°] )(?<![A-Za-z]\()(?<![=+*/^<>] )(?<![=+*^<>_-])"
    r"(?P<letter>[A-Z](?![A-Za-z0-9'_(-]| ?[=+^*<>])|(?<=\()[a-z](?=\))|(?<= )[a-z](?=[).?]|$))"
)
_NO_LETTER = re.compile(
    r"A (?=[a-z])(?!(?:is|are|was|and|or|but|also|as|too|could|might|may|can|would|if|seems|looks|works|equally"
    r"|otherwise|possible|possibly|plausible|likely|instead|then|not|nor|fails)\b)|I(?! *(?:$|[.?),;]|is\b|or\b))"
)
"""An article, a pronoun, a Roman one."""
_HEDGE = (
    r"maybe|perhaps|probably|possibly|potentially|conceivably|plausibly|likely|alternatively|alternately|otherwise|else|vs"
    r"|versus|unless|also|though|unsure|(?:could|might|may)(?: also| well| even)*(?: be)?"
)
_FILLERS = r"(?:\W+(?:the|options?|choices?|answers?|be|even|is|it|not))*\W*$"
_HEDGED = re.compile(
    rf"(?:^\W*(?:and|or|to)|(?-i:(?<![A-Z] )(?<![A-Z][,)] ))\bor|\b(?:{_HEDGE})){_FILLERS}"
    r"|[A-Za-z0-9]{2}\)?[,;?/|&] ?\(?$",
    re.IGNORECASE,
)
_FALSE = r"wrong|false|incorrect|invalid|impossible|implausible|excluded|eliminated|rejected|ruled out"
_UNDENIED = rf"\b(?:not|never|cannot|can't|hardly|\w+n't)\b[^.;,]*\b(?:{_FALSE})"
_POSSIBLE = re.compile(
    r"\W{0,2}(?:[a-z]+ ){0,3}?(?:also|too(?! \w)|possible|plausible|likely|as well|equally|otherwise|instead)\b"
    rf"|\W{{0,2}}(?:[a-z]+ )?{_UNDENIED}"
)
_LIST = re.compile(r"\W*\(?[A-Z]\)?(?:\W+(?:(?:and|or)\W+)?\(?[A-Z]\)?)+\W*$")
_UNSURE = re.compile(
    r"\b(?:maybe|perhaps|possib\w+|plausib\w+|could|might|may|also|equally|unless|too(?! \w)|alternatively)\b"
    rf"|{_UNDENIED}"
)
_REASON = re.compile(r"\b(?:because|since|given that)\b[^.;]*$")
_NAMES = r"(?:\W+(?:(?-i:[A-Z])\b|or|and|nor))*\W*$"
_TOGETHER = re.compile(rf"\b(?:both|all of|only){_NAMES}", re.IGNORECASE)
_NOUN = re.compile(r"\b(?:vitamin|point|plan|type|group|figure|line|event|set|part|phase|hepatitis) $", re.IGNORECASE)
_DENIED_BEFORE = re.compile(
    r"(?<!if )(?<!why )(?:\bnot|n't|\brather than|\binstead of|\bunlike|\bover|\bthan|\bexcept|\bnor|\bneither|\bnever"
    r"|\bagainst|\bwithout|\brul\w+ out|\beliminat\w+|\breject\w*|\bexclud\w+)"
    rf"(?:\W+(?:be|the|options?|choices?|answers?)\b)*{_NAMES}",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\)?(?:,? *(?:and|or|nor|,|&) *\(?[A-Z]\)?)* +(?:(?!not |never |cannot |hardly )[a-z]+ ){0,4}?"
    rf"(?:{_FALSE}|unlikely|irrelevant|unrelated|fails?|contradicts?|violates?|lacks?|ignores?|too [a-z]+"
    rf"|(?:cannot|can't|never|not|no|(?:does|do|is|are|was|were|did)n't)\b(?![^.;,]*(?:{_FALSE})))"
)


def letter_of(content: str) -> str | None:
    """The letter of the one option that a text names, alone or with words behind it; None for a list or a hedge.

    Bold, LaTeX's text and `Option` before the letter are left out; a small letter stands for its capital where it is
    alone or marked as a letter (`b)`).
    """
    text = _ARROW.sub(" = ", unicodedata.normalize("NFKC", content))
    text = _QUOTED.sub(r"\1", " ".join(_DRESS.sub(" ", text).split()))
    text = _SPACED_MARK.sub(r"\1\2", text)
    named = _NAMED.match(text)
    text = text[named.end() :] if named is not None else text
    found = _LETTER.match(text)
    if found is None or not _WORDS.match(text, found.end()):
        return None
    letter = found[found.lastgroup or 0].upper()
    return None if names_another(text[found.end() :], letter) else letter


def names_another(words: str, letter: str) -> bool:
    """Whether the words behind an option's letter name a second option, surely or perhaps."""
    if _LIST.match(letter + words):
        return True
    remark = _REMARK.match(words) is not None
    for other in _OTHER.finditer(words):
        before, after = words[max(0, other.start() - _NEAR) : other.start()], words[other.end() : other.end() + _NEAR]
        if other["letter"].upper() == letter or _NO_LETTER.match(words, other.start()):
            continue
        if _denied(before, after) or _gives_reason(before, after):
            continue
        together = _TOGETHER.search(before)
        if together is not None and letter not in together[0]:
            continue
        inside = before.count("(") > before.removeprefix(")").count(")")
        marked = re.match(r"[.:](?= \w)|\)", after) and (before.endswith("(") or not inside)
        alone = not (before + after).strip(" .:,;)(?/|&+[]")
        if alone or marked or _HEDGED.search(before) or _POSSIBLE.match(after):
            return True
        if remark and not _NOUN.search(before):
            return True
    return False


def _denied(before: str, after: str) -> bool:
    return bool(_DENIED_BEFORE.search(before) or _DENIED_AFTER.match(after))


def _gives_reason(before: str, after: str) -> bool:
    reason = _REASON.search(before)
    return reason is not None and not _UNSURE.search(reason[0] + re.split("[.;]", after, maxsplit=1)[0])
