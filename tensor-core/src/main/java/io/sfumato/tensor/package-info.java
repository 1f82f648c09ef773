// SPDX-License-Identifier: Apache-2.0
/**
 * Tensors, their shapes, layouts and element types, and the facade {@code NN} that computes with
 * them.
 */
@NullMarked
package io.sfumato.tensor;

import org.jspecify.annotations.NullMarked;
