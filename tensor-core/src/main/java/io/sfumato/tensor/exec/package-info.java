// SPDX-License-Identifier: Apache-2.0
/** How an operator runs: executors, scopes, storages, and the backends that provide kernels. */
@NullMarked
package io.sfumato.tensor.exec;

import org.jspecify.annotations.NullMarked;
