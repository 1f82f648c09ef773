// SPDX-License-Identifier: Apache-2.0
/**
 * The operators, one record each: shape rule, CPU reference, and backward in terms of other
 * operators.
 */
@NullMarked
package io.sfumato.tensor.ops;

import org.jspecify.annotations.NullMarked;
