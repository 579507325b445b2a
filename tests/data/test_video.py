import numpy as np
from written_sets import film

from robolearn.data.video import write_video


def test_the_same_pictures_always_make_the_same_file(tmp_path):
    pictures = film((4, 24, 32, 3), np.random.default_rng(0))
    contents = set()
    for _ in range(300):  # with looking ahead about one of 200 files is another
        write_video(tmp_path / "a.mp4", pictures, fps=20)
        contents.add((tmp_path / "a.mp4").read_bytes())
    assert len(contents) == 1
