"""Networks that policies and reward models share: encoders of pictures, state and words."""
