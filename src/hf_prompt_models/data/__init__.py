"""From files to examples: image folders and `datasets`, few-shot sampling, augmentation."""
