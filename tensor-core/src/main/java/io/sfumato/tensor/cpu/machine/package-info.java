// SPDX-License-Identifier: Apache-2.0

/**
 * What the machine has beyond Java: pages of memory, and instructions that the compiler of the JVM
 * does not make. Nothing native is shipped: an assembler writes code at run time.
 */
@NullMarked
package io.sfumato.tensor.cpu.machine;

import org.jspecify.annotations.NullMarked;
