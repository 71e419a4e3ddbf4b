"""Which of transformers' tests do not apply to which of our classes, each with its reason.

A key is the name of a test class, or a pattern of names; a test's name may be a pattern, too.
"""

EXCLUSIONS: dict[str, dict[str, str]] = {}
