"""Teach a translator to say numbers: from digits to the names of their digits, tens and hundreds, as symbols.

The same class translates sentences and spells words in phones; here a sequence of characters becomes a sequence of
words that stand in another order and number. Run it with ``python examples/say_numbers.py``; it takes about ten
seconds and writes nothing.
"""

import numpy as np

from lstmkit import Translator

ONES = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def say(number: int) -> str:
    """A number below 1,000 in words."""
    hundreds, rest = divmod(number, 100)
    words = [ONES[hundreds], "hundred"] if hundreds else []
    if hundreds and rest:
        words.append("and")
    words += [TEENS[rest - 10]] if 10 <= rest < 20 else [TENS[rest // 10], ONES[rest % 10]]
    return " ".join(word for word in words if word)


def main() -> float:
    """Learn from half of the numbers, then say the others; the part of them that is right."""
    numbers = np.random.default_rng(0).permutation(np.arange(1, 1000))
    known, unseen = numbers[:500], numbers[500:]
    options = {"source_level": "character", "target_level": "symbol", "embedding_size": 32, "hidden_size": 48}
    translator = Translator(**options, max_steps=600, learning_rate=1e-2, quiet=True)
    translator.fit([str(number) for number in known], [say(number) for number in known])
    evaluation = translator.evaluate([str(number) for number in unseen], [say(number) for number in unseen])
    print(evaluation)
    for number in unseen[:4]:
        (answer,) = translator.translations([str(number)])[0]
        print(f"{number}: {answer.text} (score {answer.score:.2f})")
    return 1 - (evaluation.word_error_rate or 0) / 100


if __name__ == "__main__":
    main()
