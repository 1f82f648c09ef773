// SPDX-License-Identifier: Apache-2.0
/**
 * The CUDA backend, found by {@link java.util.ServiceLoader} and used when an NVIDIA driver is
 * present.
 */
@NullMarked
package io.sfumato.cuda;

import org.jspecify.annotations.NullMarked;
