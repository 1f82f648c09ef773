// SPDX-License-Identifier: Apache-2.0
/** One device and the driver's functions: memory, streams, kernel images and launches. */
@NullMarked
package io.sfumato.cuda.driver;

import org.jspecify.annotations.NullMarked;
