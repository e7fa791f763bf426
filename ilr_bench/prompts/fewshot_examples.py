r"""Worked examples for base models on benchmarks: formulas, choices and programs. All are ours; none is a benchmark's.

A solution is one line, since the line's end ends a turn, and closes with `The answer is ...`; a program ends with its
fence.
"""

from __future__ import annotations

FORMULAS = (
    (
        r"Compute $\dfrac{3}{4} + \dfrac{1}{6}$.",
        r"$\frac{3}{4} = \frac{9}{12}$ and $\frac{1}{6} = \frac{2}{12}$, which makes $\frac{11}{12}$. "
        r"The answer is $\frac{11}{12}$.",
    ),
    (
        r"For which positive number $x$ is $x^2 - 2x = 15$?",
        r"$x^2 - 2x - 15 = (x - 5)(x + 3)$, so $x = 5$ or $x = -3$, and $5$ is positive. The answer is $5$.",
    ),
    (
        r"The legs of a right triangle are $4$ and $6$ long. How long is its longest side?",
        r"$4^2 + 6^2 = 52$ and $\sqrt{52} = 2\sqrt{13}$. The answer is $2\sqrt{13}$.",
    ),
    (
        r"Where does the line $y = 3x - 6$ meet the $x$-axis?",
        r"$3x - 6 = 0$ gives $x = 2$, where $y = 0$. The answer is $(2, 0)$.",
    ),
)
"""Problems written in LaTeX, with answers in LaTeX."""

CHOICES = (
    (
        "Which of these is a mammal?\nA. trout\nB. dolphin\nC. penguin\nD. gecko",
        "Trout are fish, penguins birds and geckos reptiles; dolphins nurse their young. The answer is B.",
    ),
    (
        "A car drives 150 km in 2 hours. What is its mean speed?\nA. 50 km/h\nB. 60 km/h\nC. 75 km/h\nD. 300 km/h",
        "150/2=75, so it is 75 km/h. The answer is C.",
    ),
    (
        "Who decides a case in which two companies accuse each other of a breach of contract?\n"
        "A. a civil court\nB. a criminal court\nC. a parliament\nD. the police",
        "A contract between companies is a private matter, which civil courts decide. The answer is A.",
    ),
    (
        "Which gas do green leaves take up in sunlight?\nA. oxygen\nB. helium\nC. nitrogen\nD. carbon dioxide",
        "Photosynthesis makes sugar out of water and carbon dioxide. The answer is D.",
    ),
)
"""A question with its options, and a solution."""

PROGRAMS = (
    (
        "Write a function to count the vowels of a word.\nassert count_vowels('banana') == 3",
        "def count_vowels(word):\n    return sum(letter in 'aeiou' for letter in word.lower())",
    ),
    (
        'def largest_gap(numbers):\n    """The largest difference of neighbours in a list.\n'
        '    >>> largest_gap([1, 4, 2])\n    3\n    """',
        "def largest_gap(numbers):\n    gaps = [abs(b - a) for a, b in zip(numbers, numbers[1:])]\n"
        "    return max(gaps, default=0)",
    ),
    (
        "Write a function to keep the even numbers of a list.\nassert keep_even([1, 2, 4]) == [2, 4]",
        "def keep_even(numbers):\n    kept = []\n    for number in numbers:\n        if number % 2 == 0:\n"
        "            kept.append(number)\n    return kept",
    ),
)
"""A task as benchmarks word it, and a program that does it."""
