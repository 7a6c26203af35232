"""Say how each ATen operator couples the channels of its inputs and outputs."""
