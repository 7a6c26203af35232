"""Judge the windows of a prediction log and decide when to re-prune."""
