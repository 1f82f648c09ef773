// SPDX-License-Identifier: Apache-2.0
/** What an op is, and the one way to run it. */
@NullMarked
package io.sfumato.tensor.exec;

import org.jspecify.annotations.NullMarked;
