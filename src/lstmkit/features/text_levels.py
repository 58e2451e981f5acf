"""What each level of tokens asks of Hugging Face tokenizers."""

from typing import Any

from lstmkit.spec import import_extra

SPECIALS = ("<unk>", "<s>", "</s>")

# Levels whose vocabulary is all that is found.
WHOLE = ("word", "character", "letter")
_PIECES = 8000
_NO_LIMIT = 2**31 - 1
# A word with what an apostrophe or a hyphen joins to it, or a single sign.
_WORDS = r"\w+(?:['’\-]\w+)*|[^\w\s]"
# What a reader takes for one character: a letter with its marks, a family of emoji.
_CHARACTERS = r"\X"
# Base letters and marks apart; Hangul syllables are their letters.
_LETTERS = r"(?m)."


def build(level: str, lowercase: bool, split_punctuation: bool) -> Any:
    """A tokenizer without a vocabulary."""
    models, before, after = (
        import_extra(f"tokenizers.{name}", "text") for name in ("models", "pre_tokenizers", "decoders")
    )
    tokenizers, normal = import_extra("tokenizers", "text"), import_extra("tokenizers.normalizers", "text")
    unknown = SPECIALS[0]
    pattern = rf"{unknown}|{_WORDS}" if level == "word" else _WORDS
    words = before.Split(tokenizers.Regex(pattern), "removed", invert=True)
    words = words if split_punctuation else before.WhitespaceSplit()
    characters = before.Split(tokenizers.Regex(_CHARACTERS), "isolated")
    letters = before.Split(tokenizers.Regex(_LETTERS), "isolated")
    parts = {
        "word": (models.WordLevel(unk_token=unknown), words, None),
        "character": (models.WordLevel(unk_token=unknown), characters, after.Fuse()),
        "letter": (models.WordLevel(unk_token=unknown), letters, after.Fuse()),
        "bpe": (models.BPE(unk_token=unknown), before.ByteLevel(add_prefix_space=True), after.ByteLevel()),
        "wordpiece": (models.WordPiece(unk_token=unknown), words, after.WordPiece()),
    }
    model, splitter, joiner = parts[level]
    tokenizer = tokenizers.Tokenizer(model)
    form = normal.NFD() if level == "letter" else normal.NFC()
    tokenizer.normalizer = normal.Sequence([form, normal.Lowercase()]) if lowercase else form
    tokenizer.pre_tokenizer = splitter
    if joiner is not None:
        tokenizer.decoder = joiner
    return tokenizer


def trainer(level: str, size: int | None, min_count: int) -> Any:
    """What learns the vocabulary of a level."""
    trainers = import_extra("tokenizers.trainers", "text")
    options: dict[str, Any] = {
        "special_tokens": list(SPECIALS),
        "show_progress": False,
        "min_frequency": min_count,
        "vocab_size": size or (_NO_LIMIT if level in WHOLE else _PIECES),
    }
    if level == "bpe":
        options["initial_alphabet"] = import_extra("tokenizers.pre_tokenizers", "text").ByteLevel.alphabet()
    names = {"bpe": "BpeTrainer", "wordpiece": "WordPieceTrainer"}
    return getattr(trainers, names.get(level, "WordLevelTrainer"))(**options)


def number_specials_first(tokenizer: Any) -> Any:
    """A special token that stands in the text as well has got a number behind its own: give it back its own."""
    found = tokenizer.get_vocab()
    names = sorted(found.keys() - set(SPECIALS), key=lambda name: found[name])
    numbers = {name: number for number, name in enumerate((*SPECIALS, *names))}
    tokenizer.model = import_extra("tokenizers.models", "text").WordLevel(numbers, unk_token=SPECIALS[0])
    # Read anew, it forgets the numbers of before.
    return import_extra("tokenizers", "text").Tokenizer.from_str(tokenizer.to_str())
