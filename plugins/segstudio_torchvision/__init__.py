"""torchvision adapter."""
