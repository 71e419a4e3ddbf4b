"""What can be trained, evaluated, predicted, reported and shown: one folder for each task."""
