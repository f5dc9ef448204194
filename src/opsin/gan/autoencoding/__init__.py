"""Autoencoders: images as small codes and back, trained as for latent diffusion."""
