// SPDX-License-Identifier: Apache-2.0
/** Whole generators of pictures: models, sampler and text encoder, read and written together. */
@NullMarked
package io.sfumato.models.pipeline;

import org.jspecify.annotations.NullMarked;
