"""SegStudio example plugin."""
