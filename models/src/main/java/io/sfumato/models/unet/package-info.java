// SPDX-License-Identifier: Apache-2.0
/** U-shaped networks that predict noise from noisy images. */
@NullMarked
package io.sfumato.models.unet;

import org.jspecify.annotations.NullMarked;
