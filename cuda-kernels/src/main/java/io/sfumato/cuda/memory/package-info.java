// SPDX-License-Identifier: Apache-2.0
/** The caching allocator of device memory; knows no driver. */
@NullMarked
package io.sfumato.cuda.memory;

import org.jspecify.annotations.NullMarked;
