"""Shared code of the tasks that classify images and videos."""
