// SPDX-License-Identifier: Apache-2.0
/**
 * Other libraries at the shapes of the kernel benchmarks, in the same run: EJML, OpenBLAS and
 * libtorch. Compiled with the Maven profile {@code peers} only, whose dependencies are large.
 */
@NullMarked
package io.sfumato.benchmarks.peers;

import org.jspecify.annotations.NullMarked;
