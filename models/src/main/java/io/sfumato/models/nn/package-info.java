// SPDX-License-Identifier: Apache-2.0
/** Layers, and the module tree whose parameter names are those of the checkpoint. */
@NullMarked
package io.sfumato.models.nn;

import org.jspecify.annotations.NullMarked;
