"""Tools of our own, which act only through the validators of the right that allowed them."""
