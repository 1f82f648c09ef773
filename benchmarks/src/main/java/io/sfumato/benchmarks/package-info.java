// SPDX-License-Identifier: Apache-2.0
/** The speed suite and kernel benchmarks. */
@NullMarked
package io.sfumato.benchmarks;

import org.jspecify.annotations.NullMarked;
