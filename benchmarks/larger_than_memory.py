"""Files of any size in bounded memory: each room learns a little from a small file and from one ten times as large.

    python -m benchmarks.larger_than_memory --megabytes 60 --room classify

Prints, as JSON, the largest memory of each process beside what it maps of files, which the system can take back.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

ROOMS = ("classify", "lm", "tag", "translate")
TINY: dict[str, Any] = {"hidden_size": 4, "time_limit": 0.05, "quiet": True, "device": "cpu"}

_STATUS = Path("/proc/self/status")


def draw_words(count: int) -> list[str]:
    """Words, of which there are to be so many."""
    source = random.Random(0)
    return ["".join(source.choices("etaoinshrdlu", k=source.randint(2, 9))) for _ in range(count)]


def lines(room: str, words: Sequence[str]) -> Iterator[str]:
    """Lines of a room's ordinary file, without end: sentences of frequent and rare words, or groups of words."""
    source = random.Random(0)
    while True:
        drawn = [words[int(len(words) ** source.random()) - 1] for _ in range(source.randint(5, 25))]
        text = " ".join(drawn).split()
        if room == "tag":
            yield from (f"{word}\t{'AB'[word < 'k']}" for word in text)
            yield ""
        else:
            more = {"classify": f"\t{'ab'[text[0] < 'k']}", "lm": "", "translate": "\t" + " ".join(text[::-1])}
            yield " ".join(text) + more[room]


def write_file(room: str, size: int, folder: Path, words: Sequence[str]) -> Path:
    """A file of at least so many bytes."""
    path = folder / f"{room}_{size}.{'conll' if room == 'tag' else 'txt' if room == 'lm' else 'tsv'}"
    with path.open("w", encoding="utf-8") as stream:
        for line in chain(["text\tlabel"] if room == "classify" else [], lines(room, words)):
            size -= stream.write(line + "\n")
            if size <= 0 and (room != "tag" or not line):
                return path
    raise AssertionError("lines have no end")


def train(room: str, path: Path) -> None:
    """A few steps on a file."""
    from lstmkit import Classifier, LanguageModel, Tagger, Translator
    from lstmkit.data import read_pairs

    def translate() -> Any:
        pairs = read_pairs(path)
        judged = (["one two"], ["two one"])
        translator = Translator(level="word", size=8000, embedding_size=4, max_steps=30, **TINY)
        return translator.fit(pairs.sources, pairs.targets, validation=judged)

    rooms: dict[str, Callable[[], Any]] = {
        "classify": lambda: Classifier(embedding_size=4, members=1, max_epochs=1, **TINY).fit(path),
        "lm": lambda: LanguageModel("word", vocabulary_size=8000, embedding_size=4, max_steps=30, **TINY).fit(path),
        "tag": lambda: Tagger(word_size=4, max_epochs=1, **TINY).fit(path),
        "translate": translate,
    }
    rooms[room]()


class Peak:
    """The largest memory of this process in bytes, what is mapped of files left out, looked at every 10 ms.

    Linux alone tells the two apart.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            found = _STATUS.read_text().partition("RssAnon:")[2].split()[0]
            self.bytes = max(self.bytes, int(found) * 1024)


def measure(room: str, path: Path) -> dict[str, Any]:
    """Train in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--child", room, str(path)]
    found = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(found.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=60, help="size of the larger file")
    parser.add_argument("--room", choices=ROOMS, action="append", help="may be repeated; all by default")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not _STATUS.exists():
        raise SystemExit("this benchmark needs Linux, which tells memory and mapped files apart")
    if options.child:
        start = time.process_time()
        with Peak() as peak:
            train(options.child[0], Path(options.child[1]))
        seconds = round(time.process_time() - start, 1)
        print(json.dumps({"processor_seconds": seconds, "peak_megabytes": peak.bytes // 10**6}))
        return
    for room in options.room or ROOMS:
        for megabytes in (options.megabytes / 10, options.megabytes):
            with TemporaryDirectory() as folder:
                path = write_file(room, int(megabytes * 1e6), Path(folder), draw_words(20_000))
                print(json.dumps({"room": room, "megabytes": megabytes, **measure(room, path)}), flush=True)


if __name__ == "__main__":
    main()
