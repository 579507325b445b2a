"""Networks that a sampler evaluates: a noisy chunk, its time and an observation in, a prediction of its size out."""
