// SPDX-License-Identifier: Apache-2.0
/** Generative adversarial networks: generator, discriminator, their losses. */
@NullMarked
package io.sfumato.models.gan;

import org.jspecify.annotations.NullMarked;
