"""Losses beside what people say of the same images: public datasets, and how far a loss agrees with them."""
