"""Images as the prefix of any causal language model: what MAnTiS and Frozen share."""
