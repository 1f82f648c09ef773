// SPDX-License-Identifier: Apache-2.0
/** Checks of gradients against finite differences. */
@NullMarked
package io.sfumato.autograd.check;

import org.jspecify.annotations.NullMarked;
