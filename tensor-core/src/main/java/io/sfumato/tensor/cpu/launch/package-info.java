// SPDX-License-Identifier: Apache-2.0

/** The CPU's kernels: from ops and tensors to the loops over addresses. */
@NullMarked
package io.sfumato.tensor.cpu.launch;

import org.jspecify.annotations.NullMarked;
