// SPDX-License-Identifier: Apache-2.0
/**
 * The CPU backend: off-heap memory, a fixed thread pool, and kernels that work on absolute
 * addresses. Nothing in this package imports the Vector API; see {@code
 * io.sfumato.tensor.cpu.simd}.
 */
@NullMarked
package io.sfumato.tensor.cpu;

import org.jspecify.annotations.NullMarked;
