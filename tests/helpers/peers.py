"""Other systems as oracles: optional in a user's environment, present where the dev extra is installed."""

import os
from typing import Any

import numpy as np
import pytest

# The lightest backend: torch is here in any case.
os.environ.setdefault("KERAS_BACKEND", "torch")


def keras() -> Any:
    """Keras, or a skip with the reason."""
    return pytest.importorskip("keras", reason="Keras, the oracle of this test, is not installed")


def randomise(layer: Any, seed: int = 0) -> None:
    """Give every weight of a Keras layer a random value, biases too."""
    generator = np.random.default_rng(seed)
    for variable in layer.weights:
        if "seed" not in variable.path:
            variable.assign(generator.normal(size=variable.shape) * 0.7)


def numbers(value: Any) -> Any:
    """What Keras gives, as arrays."""
    if isinstance(value, list | tuple):
        return [numbers(part) for part in value]
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def close(actual: Any, expected: Any) -> None:
    """Equal within the rounding of float32, in which other systems compute; a relu's numbers grow, so theirs does."""
    tolerance = 5e-6 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
