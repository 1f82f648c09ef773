// SPDX-License-Identifier: Apache-2.0
/** Tensors, their shapes and types, and who owns their memory. */
@NullMarked
package io.sfumato.tensor;

import org.jspecify.annotations.NullMarked;
