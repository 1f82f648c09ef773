# SPDX-License-Identifier: Apache-2.0
"""Writes resources/golden/ops: what PyTorch says about every op. Run it with PyTorch on the CPU:

    python tensor-core/src/test/golden/make_ops.py

The format is described in resources/golden/README.md. Results do not depend on the machine beyond
the last bits of float64.
"""

import torch

import cases_layers
import cases_linear
import cases_pointwise
import cases_reduce
from suite import Suite


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    suite = Suite()
    cases_pointwise.add_cases(suite)
    cases_reduce.add_reductions(suite)
    cases_reduce.add_moves(suite)
    cases_linear.add_cases(suite)
    cases_layers.add_cases(suite)
    for module in (cases_pointwise, cases_reduce, cases_linear, cases_layers):
        module.add_second_order(suite)
    suite.write("ops")


if __name__ == "__main__":
    main()
