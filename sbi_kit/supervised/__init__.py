"""Estimators of labelled data, with scikit-learn's conventions; imported by name when asked for."""
