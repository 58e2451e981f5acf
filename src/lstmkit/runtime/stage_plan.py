"""A model as it is written down."""

from dataclasses import dataclass, field
from typing import Any

from lstmkit.runtime.stages import Stage


@dataclass
class StagePlan:
    """Stages in the order in which they are added; every call answers with the name of the new value.

    Example:
        >>> plan = StagePlan()
        >>> plan.add("wide", "relu", plan.add("scores", "linear", "x", features=3, units=2))
        'wide'
        >>> [stage.name for stage in plan.stages]
        ['scores', 'wide']
    """

    stages: list[Stage] = field(default_factory=list[Stage])

    def add(self, name: str, kind: str, *inputs: str, **options: Any) -> str:
        """Add a stage of some kind that reads these values."""
        self.stages.append(Stage(name, kind, inputs, options))
        return name
