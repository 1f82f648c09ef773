// SPDX-License-Identifier: Apache-2.0
/** Images and data sets: reading, cropping, batching and writing. */
@NullMarked
package io.sfumato.models.data;

import org.jspecify.annotations.NullMarked;
