"""Windows over the window: palette, key sheet, settings, folder and import."""
