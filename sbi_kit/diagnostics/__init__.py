"""Judges of a posterior: they see contracts and banks, never a concrete method."""
