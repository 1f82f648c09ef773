// SPDX-License-Identifier: Apache-2.0
/** Diffusion transformers: DiT with its four ways of conditioning. */
@NullMarked
package io.sfumato.models.dit;

import org.jspecify.annotations.NullMarked;
