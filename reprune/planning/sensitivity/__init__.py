"""Measure how much the loss rises as each group narrows: curves with error bars."""
