"""Diffusion models: orders of training, distillation, removal of concepts, editing."""
