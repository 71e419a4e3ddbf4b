"""Visual grounding: which region of an image a phrase means."""
