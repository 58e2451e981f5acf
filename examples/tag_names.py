"""Find names that were never seen: a tagger reads their endings and the words around them.

Islands of this archipelago end in -oa, its people are called by any word that stands before "sailed". Run it with
``python examples/tag_names.py``; it takes some seconds and writes nothing.
"""

import random

from lstmkit import Tagger

Sentence = tuple[list[str], list[str], str]


def name(source: random.Random, ending: str = "") -> str:
    """A word that nobody has heard before."""
    syllables = [source.choice("bdfklmnprst") + source.choice("aeiou") for _ in range(3)]
    return ("".join(syllables) + ending).capitalize()


def sentence(source: random.Random) -> Sentence:
    """Words, their tags, and whether it asks or tells."""
    island, person = name(source, "oa"), name(source)
    if source.random() < 0.5:
        return [person, "sailed", "to", island, "."], ["B-person", "O", "O", "B-island", "O"], "tell"
    return ["Where", "is", island, "?"], ["O", "O", "B-island", "O"], "ask"


def main() -> float:
    """Train, show what is found, and give the F1 of spans on sentences of other names."""
    source = random.Random(0)
    tagger = Tagger(hidden_size=32, max_epochs=25, quiet=True).fit([sentence(source) for _ in range(200)])
    for tagged in tagger.predict(["Tidobu sailed to Remasoa.", "Where is Pukenaoa?"]):
        print(f"{tagged.text}  ({tagged.label})")
        for entity in tagged.entities:
            print(f"  {entity.start}-{entity.end}  {entity.text}: {entity.label}")
    found = tagger.evaluate([sentence(source) for _ in range(100)])
    print(found)
    return found.to_dict()["f1"]


if __name__ == "__main__":
    main()
