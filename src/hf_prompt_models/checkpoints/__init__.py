"""Files that others wrote: fingerprints of backbones, weights, formats of the original code."""
