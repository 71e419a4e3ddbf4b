"""What a prompt is: templates, class names as tokens, learnable context, packing, text towers over either layout."""
