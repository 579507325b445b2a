"""Isaac Gym's tensors as torch tensors and back, without copying."""

import torch
from isaacgym.gymapi import Tensor

def wrap_tensor(gym_tensor: Tensor) -> torch.Tensor: ...
def unwrap_tensor(torch_tensor: torch.Tensor) -> Tensor: ...
