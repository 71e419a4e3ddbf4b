"""Visual grounding: finding the region of an image that a phrase means."""
