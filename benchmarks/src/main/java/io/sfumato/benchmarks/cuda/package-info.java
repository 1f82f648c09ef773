// SPDX-License-Identifier: Apache-2.0
/** Measurements on a GPU. */
@NullMarked
package io.sfumato.benchmarks.cuda;

import org.jspecify.annotations.NullMarked;
