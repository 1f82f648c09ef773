// SPDX-License-Identifier: Apache-2.0

/** One table of cases per family of ops, which the generic suites of all modules run. */
@NullMarked
package io.sfumato.tensor.ops.cases;

import org.jspecify.annotations.NullMarked;
