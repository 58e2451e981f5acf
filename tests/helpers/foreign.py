"""Tokenizers of other people, as they come in a ``tokenizer.json``."""

import json
from collections.abc import Callable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = ["the cat sat on the mat", "the dog lay on the rug, playing", "it's a café; don't!", "Does the cat play?"] * 5


def gpt2() -> Tokenizer:
    """Pieces of bytes; spaces count to the piece behind them; a special token of its own and no unknown one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, trainers.BpeTrainer, ["<|endoftext|>"], 300, alphabet=True)


def roberta() -> Tokenizer:
    """Our special tokens in another order, a space before the text, and marks around it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    _trained(tokenizer, trainers.BpeTrainer, ["<s>", "<pad>", "</s>", "<unk>"], 300, alphabet=True)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def bert() -> Tokenizer:
    """Word pieces in lower case; unknown is number 1; texts are cut off, filled up and put between marks."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _trained(tokenizer, trainers.WordPieceTrainer, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], 70)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=6)
    return tokenizer


def words() -> Tokenizer:
    """Words at spaces, and no token for those that it does not have."""
    tokenizer = Tokenizer(models.WordLevel({"cat": 0, "the": 1, "sat": 2, "<s>": 3}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def unigram() -> Tokenizer:
    """Pieces by their probability, without a token for characters that it does not have."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return _trained(tokenizer, trainers.UnigramTrainer, [], 60)


def llama() -> Tokenizer:
    """Our special tokens first; no splitter; what is not there falls apart into bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    _trained(tokenizer, trainers.BpeTrainer, ["<unk>", "<s>", "</s>"], 80)
    document = json.loads(tokenizer.to_str())
    for byte in range(256):
        document["model"]["vocab"][f"<0x{byte:02X}>"] = len(document["model"]["vocab"])
    return Tokenizer.from_str(json.dumps(document))


def quicktour() -> Tokenizer:
    """The first example of the library's own documentation: pieces that nothing joins again."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return _trained(tokenizer, trainers.BpeTrainer, ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], 60)


FOREIGN: dict[str, Callable[[], Tokenizer]] = {
    make.__name__: make for make in (gpt2, roberta, bert, words, unigram, llama, quicktour)
}


def _trained(
    tokenizer: Tokenizer, trainer: type, special: list[str], size: int, *, alphabet: bool = False
) -> Tokenizer:
    options = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()} if alphabet else {}
    names = [AddedToken(name, special=True) for name in special]
    tokenizer.train_from_iterator(TEXTS, trainer(vocab_size=size, special_tokens=names, show_progress=False, **options))
    return tokenizer
