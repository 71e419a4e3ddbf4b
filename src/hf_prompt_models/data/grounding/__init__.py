"""Visual grounding data: referring expressions, region proposals, region features and relations."""
