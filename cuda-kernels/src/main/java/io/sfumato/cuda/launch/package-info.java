// SPDX-License-Identifier: Apache-2.0
/** How ops are launched on a device: one file per family of kernels. */
@NullMarked
package io.sfumato.cuda.launch;

import org.jspecify.annotations.NullMarked;
