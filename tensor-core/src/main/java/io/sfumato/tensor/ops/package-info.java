// SPDX-License-Identifier: Apache-2.0
/** The ops, one record each, and the facades that construct them. */
@NullMarked
package io.sfumato.tensor.ops;

import org.jspecify.annotations.NullMarked;
