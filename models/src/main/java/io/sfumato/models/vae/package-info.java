// SPDX-License-Identifier: Apache-2.0
/** Autoencoders of pictures: the first stage of latent diffusion, with its losses. */
@NullMarked
package io.sfumato.models.vae;

import org.jspecify.annotations.NullMarked;
