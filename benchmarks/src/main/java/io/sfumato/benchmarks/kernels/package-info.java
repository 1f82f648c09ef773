// SPDX-License-Identifier: Apache-2.0
/** JMH benchmarks of single kernels, over the shapes of real models. */
@NullMarked
package io.sfumato.benchmarks.kernels;

import org.jspecify.annotations.NullMarked;
