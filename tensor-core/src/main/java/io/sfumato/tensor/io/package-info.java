// SPDX-License-Identifier: Apache-2.0
/** Tensors in files: SafeTensors, and the named weights a model is built from. */
@NullMarked
package io.sfumato.tensor.io;

import org.jspecify.annotations.NullMarked;
