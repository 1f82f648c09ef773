// SPDX-License-Identifier: Apache-2.0
/**
 * Vector API implementations of the CPU loops. The only package that imports {@code
 * jdk.incubator.vector}; it is found by name, so the library also runs without the module.
 */
@NullMarked
package io.sfumato.tensor.cpu.simd;

import org.jspecify.annotations.NullMarked;
