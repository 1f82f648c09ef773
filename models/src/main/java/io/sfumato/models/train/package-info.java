// SPDX-License-Identifier: Apache-2.0
/** The training loop: steps, checkpoints, progress and sample grids. */
@NullMarked
package io.sfumato.models.train;

import org.jspecify.annotations.NullMarked;
