"""Folders of images scored against their references: pairs, engines, statistics, and what is written of them."""
