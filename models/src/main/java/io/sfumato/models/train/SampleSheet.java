// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.ImageGrid;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Sampled pictures, class by class, as a labelled grid and as tensors. */
public final class SampleSheet {
  private SampleSheet() {}

  /**
   * Turns model output into bytes: [-1, 1] to 0 to 255, rounded, cropped to the pictures' size.
   *
   * @param samples [N, C, H', W']
   * @return U8 [N, C, height, width]
   */
  public static Tensor toPixels(Tensor samples, int height, int width) {
    Tensor cropped = samples.slice(2, 0, height).slice(3, 0, width);
    Tensor scaled = Num.clamp(Num.affine(cropped, 127.5, 127.5), 0, 255);
    return Num.cast(Num.round(scaled), DType.U8).contiguous();
  }

  /**
   * Writes a picture with a row per class.
   *
   * @param png the file
   * @param images U8 [N, C, H, W], ordered by class, equally many of each
   * @param classNames row labels
   */
  public static void picture(Path png, Tensor images, List<String> classNames) {
    int perClass = images.dim(0) / classNames.size();
    int side = Math.max(images.dim(2), images.dim(3));
    ImageGrid.write(
        png,
        images.toByteArray(),
        images.dim(1),
        images.dim(2),
        images.dim(3),
        ImageGrid.options().columns(perClass).scale(Math.max(1, 64 / side)).rowLabels(classNames));
  }

  /**
   * Writes {@code samples.png} (a row per class) and {@code samples.safetensors} ({@code images} U8
   * [N, C, H, W], {@code labels} I64 [N]).
   *
   * @param folder where to
   * @param images U8 [N, C, H, W], ordered by class, equally many of each
   * @param labels one per image
   * @param classNames row labels
   */
  public static void write(Path folder, Tensor images, long[] labels, List<String> classNames) {
    picture(folder.resolve("samples.png"), images, classNames);
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("images", images);
      tensors.put("labels", Tensor.of(labels, labels.length));
      SafeTensors.save(folder.resolve("samples.safetensors"), tensors);
    }
  }
}
