"""The translator's network before it is trained."""

import pytest
import torch

from lstmkit.nn.stages import StagedModel
from lstmkit.tasks.translation.model import Sizes, start_weights, translation_stages


@pytest.mark.parametrize("features", [16, 256])
def test_rows_of_tokens__match_one_over_root_of_their_features(features: int) -> None:
    """A row is about as long as 1 on both sides, whatever its size, so that no token drowns the others."""
    torch.manual_seed(0)
    module = StagedModel(translation_stages(Sizes(features, 8, 1, "additive", 0.0), 500, 300))
    start_weights(module)
    for side in ("source_embedding", "target_embedding"):
        lengths = module.stage_weights()[side]["weight"].detach().norm(dim=1)
        assert float(lengths.square().mean()) == pytest.approx(1.0, rel=0.1)
