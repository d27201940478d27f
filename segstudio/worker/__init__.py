"""The engine side: the worker program, the reader, loaded models, inference, probes, checkpoints."""
