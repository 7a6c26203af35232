"""Scikit-learn's breast cancer data (569 biopsies, 30 measurements) and a multilayer perceptron."""
