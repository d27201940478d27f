"""A small renderer of street pictures with exact ground truth: where the demo pictures come from.

Everything is drawn from a seed with numpy and cv2: a perspective camera, a ground shaded pixel by pixel,
textured facades, faceted cars, leafy trees. Nothing is downloaded and nothing is copied.
"""
