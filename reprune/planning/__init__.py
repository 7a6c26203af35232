"""Planning: which width each group gets, so that the budget holds and least is lost."""
