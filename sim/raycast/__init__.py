"""The camera for learning: thousands of images a second of primitive geoms, RGB, depth and segmentation, without GL."""

from robolearn.sim.raycast.camera import Images, Light, RayCamera

__all__ = ["Images", "Light", "RayCamera"]
