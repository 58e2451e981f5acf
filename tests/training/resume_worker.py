"""A training in a process of its own, so that it can be killed: CHECKPOINT OUTPUT KILL_AT_STEP [KILL_IN]."""

import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import conftest as problem

from lstmkit.training import TrainingConfig, fit


def main(checkpoint: str, output: str, kill_at: int) -> None:
    calls = 0

    def loss(module: torch.nn.Module, batch: dict) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return problem.loss(module, batch)

    torch.set_num_threads(1)
    config = TrainingConfig(
        max_epochs=4,
        learning_rate=0.03,
        averaging=0.9,
        checkpoint=checkpoint,
        checkpoint_every=3,
        device="cpu",
        quiet=True,
    )
    module = problem.build()
    result = fit(module, problem.Epoch, loss=loss, validate=problem.validate, config=config)
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    save_file(tensors, output, metadata={"resumed_from": str(result.resumed_from), "best": repr(result.best_score)})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
