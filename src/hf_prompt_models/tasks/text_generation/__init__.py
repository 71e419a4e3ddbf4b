"""Text generation about images."""
