"""Checks on a GPU (`make test-gpu`). They need torch, numpy, cv2, Pillow, safetensors and pytest only."""
