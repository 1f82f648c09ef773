// SPDX-License-Identifier: Apache-2.0
/**
 * How pictures are varied when they are shown: a {@link io.sfumato.models.data.augment.Framing}
 * chooses what is seen of a picture, {@link io.sfumato.models.data.augment.Augmentation}s change
 * the pixels after it was brought to size. All are records that are given their random numbers, so
 * what they do is a function of the seed and of which picture is shown when. {@link
 * io.sfumato.models.data.augment.Augmentations} is a list of them, also as text: {@code
 * flip,crop,jitter}.
 */
@NullMarked
package io.sfumato.models.data.augment;

import org.jspecify.annotations.NullMarked;
