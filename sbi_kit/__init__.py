"""Any simulator in, a calibrated amortized posterior out, as ArviZ data."""
