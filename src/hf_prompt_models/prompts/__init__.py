"""What a prompt is: templates, class names as tokens, learnable context, packing, the text tower over packed rows."""
