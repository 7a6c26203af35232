import numpy as np
import pytest

from reprune.config.target import Target
from reprune.errors import InputError
from reprune.inference.session import open_session


def test_opens_a_path_and_its_bytes_alike(linear_onnx):
    path = linear_onnx(4)
    feeds = {"input": np.ones((2, 6), np.float32)}
    (from_path,) = open_session(path, Target()).run(None, feeds)
    (from_bytes,) = open_session(path.read_bytes(), Target()).run(None, feeds)
    np.testing.assert_array_equal(from_path, from_bytes)


def test_threads_of_the_target_are_those_of_the_session(linear_onnx):
    options = open_session(linear_onnx(4), Target(threads=1)).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.onnx"):
        open_session(tmp_path / "missing.onnx", Target())


def test_a_file_the_runtime_refuses_is_named_with_its_reason(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputError, match=r"refuses .*junk\.onnx.*INVALID_PROTOBUF"):
        open_session(tmp_path / "junk.onnx", Target())
