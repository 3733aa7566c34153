"""Generators that train by noised gradients."""
