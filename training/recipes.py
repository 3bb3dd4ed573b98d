"""Named recipes: defaults of options, which the command line may still change one by one."""

from collections.abc import Mapping
from typing import Any, Literal

RecipeName = Literal["course", "best"]

RECIPES: Mapping[RecipeName, Mapping[str, Any]] = {
    # The defaults of `training.arguments`: the Hugging Face audio course, unit 4.
    "course": {},
    # What helped, or cost nothing and saved time, in the ablation of the README (`make bench-recipes`).
    "best": {"feature_encoder": "cached", "attention_dropout": 0.0, "auto_precision": "all"},
}
