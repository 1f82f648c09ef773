// SPDX-License-Identifier: Apache-2.0
/** Command-line programs that train and sample. */
@NullMarked
package io.sfumato.models.examples;

import org.jspecify.annotations.NullMarked;
