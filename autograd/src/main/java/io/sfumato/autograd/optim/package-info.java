// SPDX-License-Identifier: Apache-2.0
/** Optimizers, learning-rate schedules and moving averages of parameters. */
@NullMarked
package io.sfumato.autograd.optim;

import org.jspecify.annotations.NullMarked;
