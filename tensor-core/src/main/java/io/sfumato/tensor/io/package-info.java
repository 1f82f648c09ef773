// SPDX-License-Identifier: Apache-2.0
/** Weights in files. */
@NullMarked
package io.sfumato.tensor.io;

import org.jspecify.annotations.NullMarked;
