// SPDX-License-Identifier: Apache-2.0
/** Models with weights in four or eight bits: coding, files of bitsandbytes and diffusers. */
@NullMarked
package io.sfumato.models.quant;

import org.jspecify.annotations.NullMarked;
