// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.gan;

import io.sfumato.models.nn.BatchNorm2d;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.Layer;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import org.jspecify.annotations.Nullable;

/** What generator and discriminator share. */
final class Networks {
  private static final double EPS = 1e-5;

  private Networks() {}

  /** A normalisation by its name in configurations. */
  static Layer norm(Weights weights, String kind, int groups, int channels) {
    return switch (kind) {
      case "batch" -> new BatchNorm2d(weights, channels);
      case "group" -> new GroupNorm(weights, groups, channels, EPS);
      default ->
          new Layer(weights) {
            @Override
            protected Tensor forward(Tensor x) {
              return x;
            }
          };
    };
  }

  static void checkLabels(GanConfig config, @Nullable Tensor labels) {
    Integer classes = config.numClasses();
    if ((classes == null) != (labels == null)) {
      throw new IllegalArgumentException(
          labels == null
              ? "the model has " + classes + " classes; give labels"
              : "the model has no classes; labels must be null");
    }
  }
}
