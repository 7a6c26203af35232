"""The ``finetune`` step."""
