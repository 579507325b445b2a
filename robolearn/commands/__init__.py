"""One module for each verb, `run(config)` in each: where the parts are wired together."""
