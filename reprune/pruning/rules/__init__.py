"""How each ATen operator moves labels. An operator without a rule freezes what it touches."""
