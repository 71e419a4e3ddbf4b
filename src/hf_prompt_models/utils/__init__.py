"""What every part of the package uses: files, figures, boxes, several processes."""
