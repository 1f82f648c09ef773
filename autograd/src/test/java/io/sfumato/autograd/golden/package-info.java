// SPDX-License-Identifier: Apache-2.0

/** Values and gradients of all operations against those of PyTorch. */
@NullMarked
package io.sfumato.autograd.golden;

import org.jspecify.annotations.NullMarked;
