"""A collection that is ended before it is done."""

from robolearn.commands import collect as module


def collect_two_episodes(monkeypatch, collect, out):
    """Run `collect(out)` and end it, as Ctrl-C does, before it writes its third episode."""
    write = module._write

    def kill_before_the_third(writer, *details):
        if writer.num_episodes == 2:
            raise KeyboardInterrupt
        write(writer, *details)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", kill_before_the_third)
        assert collect(out) == 130
