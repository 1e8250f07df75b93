"""Words of a text: what ``_text``, ``_content`` and ``:text`` compare, in French and English alike.

A word is a run of letters and digits without its case and accents; an apostrophe or any other sign parts words
(``l'hôpital`` is ``l`` and ``hopital``). Numbers joined by hyphens (``718-7``, a telephone number) and UUIDs are one
word each. For the index, a plural's ending (a last ``s`` or ``x``) is left off and the commonest words are left out.
The expressions below are ours and linear; no text of a caller ever becomes one.
"""

import re
import unicodedata

LONGEST_WORD = 64
"""Characters of a word that count."""

_HEX = "[0-9a-f]"
_UUID = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_ASCII_WORD = re.compile(rf"\b(?:{_UUID}|[0-9]+(?:-[0-9]+)+)\b|[a-z0-9]+")
_WORD = re.compile(rf"\b(?:{_UUID}|[0-9]+(?:-[0-9]+)+)\b|[^\W_]+")
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "ı": "i"})
_ENGLISH = "a an and are as at be by for from has in is it its of on or that the this to was were with"
_FRENCH = (
    "au aux avec ce ces d dans de des du en est et il l la le les leur n ne ou par pas pour qu que qui s sa se ses son "
    "sur un une"
)
STOP_WORDS = frozenset(f"{_ENGLISH} {_FRENCH}".split(" "))


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text in order, stop words and plurals as they are."""
    lower = text.lower()
    if lower.isascii():
        found = _ASCII_WORD.findall(lower)
    else:
        folded = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS)).casefold()
        found = _WORD.findall("".join([one for one in folded if not unicodedata.combining(one)]))
    if len(text) > LONGEST_WORD:
        return tuple([word[:LONGEST_WORD] for word in found])
    return tuple(found)


def singular(word: str) -> str:
    """Return the word as the index has it: a long one without its last ``s`` or ``x``."""
    return word[:-1] if len(word) > 3 and word[-1] in "sx" and word[-2] != "s" else word


def indexed_words(words: tuple[str, ...]) -> dict[str, None]:
    """Return the distinct words as the index has them, stop words left out."""
    return {singular(word): None for word in words if word not in STOP_WORDS}
