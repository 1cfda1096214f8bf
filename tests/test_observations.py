"""What arrays of others become: names, dtypes, and images channels last."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.observations import arrange, is_image, name_of


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((), "observation"),
        (("agent", "pos"), "agent.pos"),
        (("pos",), "pos"),
        (("pixels/view_0",), "pixels.view_0"),
        (("_index_1", "a"), "1.a"),
        (("1", "a"), "1.a"),
        (("../../x",), "x"),
        (("a,b c=[0]",), "a_b_c__0_"),
    ],
)
def test_names_are_keys_joined_by_dots(path: tuple[str, ...], name: str):
    assert name_of(path) == name


@pytest.mark.parametrize(
    ("shape", "becomes"),
    [
        ((84, 84, 3), (84, 84, 3)),
        ((3, 64, 64), (64, 64, 3)),
        ((4, 84, 84), (84, 84, 4)),
        ((12, 84, 84), (84, 84, 12)),
        ((84, 84), (84, 84, 1)),
        ((4, 64, 48, 3), (64, 48, 12)),
        ((4, 3, 64, 48), (64, 48, 12)),
        ((4, 84, 84, 1), (84, 84, 4)),
        ((7, 7, 3), (7, 7, 3)),
        ((210, 160, 3), (210, 160, 3)),
    ],
)
def test_images_come_out_channels_last(shape: tuple[int, ...], becomes: tuple[int, ...]):
    plan = arrange(shape, np.uint8, "image")
    assert (plan.shape, plan.dtype) == (becomes, np.uint8)
    assert is_image(plan.shape, plan.dtype)
    assert plan.apply(np.zeros((5, *shape), np.uint8)).shape == (5, *becomes)


def test_every_pixel_goes_where_it_belongs():
    frames, channels, height, width = 2, 3, 8, 9
    pixels = np.arange(frames * channels * height * width).astype(np.uint8)
    stack = pixels.reshape(frames, channels, height, width)
    plan = arrange(stack.shape, np.uint8, "image")
    for image in (plan.apply(stack[None])[0], np.asarray(plan.apply(jnp.asarray(stack)))):
        for f in range(frames):
            for c in range(channels):
                np.testing.assert_array_equal(image[..., channels * f + c], stack[f, c])
    last = np.moveaxis(stack, 1, -1)
    np.testing.assert_array_equal(arrange(last.shape, np.uint8, "").apply(last), plan.apply(stack))


@pytest.mark.parametrize(
    ("shape", "dtype", "becomes"),
    [
        ((), np.int64, ()),
        ((5,), np.uint8, (5,)),
        ((5,), np.bool_, (5,)),
        ((5,), np.float16, (5,)),
        ((5,), np.float64, (5,)),
        ((20, 3, 3), np.float32, (20, 3, 3)),
        ((64, 64), np.float32, (64, 64)),
        ((0, 3), np.float32, (0, 3)),
    ],
)
def test_all_else_are_numbers(shape: tuple[int, ...], dtype: type, becomes: tuple[int, ...]):
    plan = arrange(shape, dtype, "numbers")
    assert (plan.shape, plan.dtype) == (becomes, np.float32)
    assert not is_image(plan.shape, plan.dtype)
    assert plan.apply(np.ones((2, *shape), dtype)).dtype == np.float32


def test_small_matrices_of_bytes_stay_what_they_are():
    plan = arrange((7, 7), np.uint8, "patch")
    assert (plan.shape, plan.dtype, plan.is_trivial) == ((7, 7), np.uint8, True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_images_of_other_numbers_are_images_too(dtype: type):
    plan = arrange((3, 64, 48), dtype, "image")
    assert (plan.shape, plan.dtype) == ((64, 48, 3), np.float32)
    assert is_image(plan.shape, plan.dtype)


def test_the_user_says_which_axes_are_which():
    pixels = np.arange(8 * 3 * 9, dtype=np.uint8).reshape(8, 3, 9)
    plan = arrange(pixels.shape, np.uint8, "image", "hcw")
    np.testing.assert_array_equal(plan.apply(pixels), pixels.transpose(0, 2, 1))
    # arrays with another number of axes are not meant
    assert arrange((3, 64, 64), np.uint8, "image", "fchw").shape == (64, 64, 3)
    assert arrange((8, 8, 8), np.uint8, "image", "numbers").shape == (512,)
    assert arrange((64, 64, 3), np.float32, "image", "numbers").shape == (64 * 64 * 3,)
    assert arrange((4,), np.float32, "image", "numbers").shape == (4,)


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "message"),
    [
        ((64, 3, 64), np.uint8, None, r"cam has the shape \(64, 3, 64\) .*image_axes=hwc"),
        ((8, 8, 8), np.uint8, None, "looks like an image"),
        ((2, 2, 8, 8, 3), np.uint8, None, "looks like an image"),
        ((32, 32, 32), np.float32, None, "image_axes=numbers"),
        ((64, 64, 3, 2), np.uint8, None, r"\(64, 64, 3, 2\) and looks .*fchw, hwcf"),
        ((64, 64, 4, 3), np.float32, None, "looks like an image"),
        ((84, 84, 4, 1), np.uint8, None, "looks like an image"),
        ((3, 8, 8), np.float32, "chw", "at least 16 pixels"),
        ((3, 8, 8), np.uint8, "cht", "image_axes=cht should be one letter"),
        ((3, 8, 8), np.uint8, "chh", "image_axes=chh should be one letter"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_shape(
    shape: tuple[int, ...], dtype: type, axes: str | None, message: str
):
    with pytest.raises(UserError, match=message) as caught:
        arrange(shape, dtype, "cam", axes)
    assert "\n" not in str(caught.value)
