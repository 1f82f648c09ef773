// SPDX-License-Identifier: Apache-2.0
/** Reverse-mode automatic differentiation: tapes that record operators and walk them backward. */
@NullMarked
package io.sfumato.autograd;

import org.jspecify.annotations.NullMarked;
