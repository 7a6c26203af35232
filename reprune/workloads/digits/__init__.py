"""Scikit-learn's 1,797 scanned handwritten digits and a small residual network."""
