"""The teaching machinery: what the notebooks and the notebook runner use."""
