"""Networks that turn a dataset of any size into features of fixed size."""
