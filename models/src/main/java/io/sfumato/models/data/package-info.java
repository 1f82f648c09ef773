// SPDX-License-Identifier: Apache-2.0
/**
 * Data sets as plain bytes, and the pictures and tables a training run leaves behind. Nothing here
 * needs tensors.
 *
 * <p>Reading: {@link io.sfumato.models.data.Datasets} finds out what a path holds ({@link
 * io.sfumato.models.data.Mnist}, {@link io.sfumato.models.data.Cifar10}, {@link
 * io.sfumato.models.data.ImageFolder}); {@link io.sfumato.models.data.ShapesWorld} needs no files
 * at all. Every one is an {@link io.sfumato.models.data.ImageDataset}: bytes 0 to 255 in channel,
 * row, column order. Bad input ends in a {@link io.sfumato.models.data.DatasetException} that names
 * the file and the offset.
 *
 * <p>Writing: {@link io.sfumato.models.data.ImageGrid}, {@link io.sfumato.models.data.LossPlot} and
 * {@link io.sfumato.models.data.LossCsv}.
 */
@NullMarked
package io.sfumato.models.data;

import org.jspecify.annotations.NullMarked;
