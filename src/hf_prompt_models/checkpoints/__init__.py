"""Checkpoints from untrusted sources and from the methods' original code, and fingerprints of backbones."""
