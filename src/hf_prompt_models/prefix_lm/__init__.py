"""Shared code of MAnTiS and Frozen: image features as prefix tokens of any causal language model."""
