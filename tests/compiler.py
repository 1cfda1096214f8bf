"""How the tests compile: code that is compiled fast rather than fast code.

Compiling is most of what the suite does, and what takes most of that is how XLA fuses on a CPU.
`tests/system/test_xla.py` compares with what is compiled as users have it.
"""

from __future__ import annotations

from importlib.metadata import version

_FLAGS = {
    "0.10": (
        "--xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_enable_concurrency_optimized_scheduler=false"
        " --xla_cpu_parallel_codegen_split_count=1"
    )
}
"""By releases of jaxlib, since XLA stops at flags that are unknown to it."""

UNOPTIMIZED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def fast_flags(*others: str) -> str:
    """A value of `XLA_FLAGS`: the others, and those with which this jaxlib compiles fast."""
    release = ".".join(version("jaxlib").split(".")[:2])
    return " ".join(x for x in (*others, _FLAGS.get(release, "")) if x)
