"""Generative adversarial networks: images from noise, from other images and from codes, and how good they are."""
