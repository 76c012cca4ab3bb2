import pytest
import torch

from foveal.encoder.precision import dtype_of, word_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_auto_is_bf16_where_the_processor_has_it(
    flags: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert dtype_of("auto", CPU) == dtype
    assert dtype_of("fp32", CPU) == torch.float32
    assert dtype_of("bf16", CPU) == torch.bfloat16


def test_a_torch_that_cannot_tell_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert dtype_of("auto", CPU) == torch.float32


def test_words_and_types_belong_together(unchecked: None) -> None:
    assert [dtype_of(word_of(dtype), CPU) for dtype in (torch.float32, torch.bfloat16)] == [
        torch.float32,
        torch.bfloat16,
    ]
    with pytest.raises(ValueError, match=r"no precision 'fp16'. There are: auto, fp32, bf16"):
        dtype_of("fp16", CPU)
