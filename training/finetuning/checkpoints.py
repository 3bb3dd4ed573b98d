"""What the Trainer's checkpoints lack for a resumed run to tell the same figures as an unbroken one."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.data.inputs import DrawnAnew


class ExactResume(TrainerCallback):
    """Tells the data its epoch, which is lost on data that is resumed amid an epoch (accelerate 1.15), and logs the
    loss before each checkpoint, as its sum since the last log is not stored."""

    def __init__(self, data: DrawnAnew) -> None:
        self._data = data

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self._data.set_epoch(int(state.epoch or 0))
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        control.should_log |= control.should_save
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        control.should_log |= control.should_save
        return control
