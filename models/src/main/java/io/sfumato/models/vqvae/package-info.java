// SPDX-License-Identifier: Apache-2.0
/**
 * Pictures as maps of discrete codes: an autoencoder with a vector quantiser (van den Oord et al.
 * 2017), and a Transformer that draws such maps.
 */
@NullMarked
package io.sfumato.models.vqvae;

import org.jspecify.annotations.NullMarked;
