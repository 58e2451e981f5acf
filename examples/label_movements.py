"""Which exercise is it? Label recordings of a sensor by the way they move, and see what decided.

The recordings are drawn here, so the example needs no files: three channels of uneven length, three exercises.
"""

import tempfile
from pathlib import Path

import numpy as np

import lstmkit

EXERCISES = ("squats", "jumps", "rest")
random = np.random.default_rng(0)


def record(exercise: str) -> np.ndarray:
    """Acceleration along three axes, ``(steps, 3)``."""
    steps = np.arange(random.integers(40, 70))
    speed, force = {"squats": (0.3, 3.0), "jumps": (0.9, 6.0), "rest": (0.0, 0.0)}[exercise]
    wave = force * np.sin(speed * random.uniform(0.8, 1.2) * steps + random.uniform(0, 6))
    return np.stack([0.2 * wave, -0.1 * wave, 9.8 + wave], 1) + random.normal(0, 1.0, (len(steps), 3))


def main() -> float:
    """Train on a few recordings; the accuracy on others."""
    draws = [(record(exercise), exercise) for exercise in EXERCISES * 40]
    recordings, labels = [list(part) for part in zip(*draws, strict=True)]
    classifier = lstmkit.Classifier(hidden_size=24, members=2, max_epochs=2, quiet=True)
    classifier.fit(recordings[:60], labels[:60])
    found = classifier.evaluate(recordings[60:], labels[60:])
    print(found)
    path = Path(tempfile.mkdtemp()) / "exercises.safetensors"
    classifier.save(path)

    # The file alone is enough: what follows needs no torch.
    model = lstmkit.load(path)
    jump = record("jumps")
    shares = dict(zip(model.labels.names, model.probabilities([jump])[0].round(3).tolist(), strict=True))
    print(f"\na jump is taken for: {shares}")
    return found.accuracy


if __name__ == "__main__":
    main()
