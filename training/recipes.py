"""Named recipes: defaults of options, which the command line may still change one by one."""

from collections.abc import Mapping
from typing import Any, Literal

RecipeName = Literal["course", "best"]

RECIPES: Mapping[RecipeName, Mapping[str, Any]] = {
    # The defaults of `training.arguments`: the Hugging Face audio course, unit 4.
    "course": {},
    # What cost no accuracy beyond the noise in the ablation (README, Recipes), and saves most of the time.
    "best": {"feature_encoder": "cached", "attention_dropout": 0.0, "auto_precision": "all"},
}
