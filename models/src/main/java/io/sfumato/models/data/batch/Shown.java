// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.Pictures;
import java.util.Optional;

/**
 * What is known of one picture of a batch. Original size and crop are the micro-conditioning of
 * SDXL (Podell et al. 2023): {@code original_size} and {@code crops_coords_top_left}.
 *
 * @param index the picture in its set
 * @param name what messages call it
 * @param label its class
 * @param caption as it is shown; empty if it has none
 * @param originalSize of the file
 * @param cropTop rows that were cut off at the top, in pixels of the resized picture
 * @param cropLeft columns that were cut off on the left, in pixels of the resized (and, if it was,
 *     mirrored) picture
 * @param mirrored whether left and right are exchanged
 */
public record Shown(
    int index,
    String name,
    int label,
    Optional<String> caption,
    Pictures.Size originalSize,
    int cropTop,
    int cropLeft,
    boolean mirrored) {}
