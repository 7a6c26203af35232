"""Planning: which width each group gets, so that the budget holds at the least loss."""
