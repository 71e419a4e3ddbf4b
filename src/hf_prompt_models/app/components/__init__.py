"""Components that several demos share."""
