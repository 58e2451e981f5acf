"""Teach a language model the manual of Python, which comes with every Python, and let it write on."""

import io
from pydoc_data.topics import topics

from lstmkit import LanguageModel

manual = "\n".join(topics[name] for name in sorted(topics))[:300_000]
print(f"{len(manual):,} characters of the manual")

model = LanguageModel("character", hidden_size=192, num_layers=1, dropout=0.0, max_steps=250, seed=1)
model.fit(io.StringIO(manual))
print(f"perplexity on the part held back: {model.scores['perplexity']:.2f} of a possible {len(model.model.table)}\n")

prompt = "The class "
print(prompt, end="")
for piece in model.write(prompt, 300):
    print(piece, end="", flush=True)
print()

english, shuffled = model.score(["a list of the names", "semat fan sl eho tia"])
print(f"\nEnglish takes {english.bits_per_character:.1f} bits per character,", end=" ")
print(f"its letters shuffled {shuffled.bits_per_character:.1f}")
