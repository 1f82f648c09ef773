// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.List;
import java.util.Objects;

/**
 * The distance of pictures in the features of a network (Zhang et al. 2018, "The Unreasonable
 * Effectiveness of Deep Features as a Perceptual Metric"; taming-transformers
 * modules/losses/lpips.py): {@code Σᵢ mean over places of Σ_c w_ic (f̂ᵢ(x) - f̂ᵢ(y))²}, where f̂
 * has norm 1 over channels at each place. No network comes with it.
 */
public final class PerceptualLoss {
  private static final double EPS = 1e-10;

  private final FeatureNetwork network;
  private final List<Tensor> weights;

  /** A loss in which all channels weigh 1. */
  public PerceptualLoss(FeatureNetwork network) {
    this(network, List.of());
  }

  /**
   * A loss.
   *
   * @param network gives the feature maps; it is not trained
   * @param weights of the channels, one [1, Cᵢ, 1, 1] per feature map (LPIPS stores them as {@code
   *     lin0.model.1.weight} and so on), or none for weights of 1; they must outlive this object
   */
  public PerceptualLoss(FeatureNetwork network, List<Tensor> weights) {
    this.network = network;
    this.weights = List.copyOf(weights);
  }

  /**
   * The distances.
   *
   * @param x [B, C, H, W], values in [-1, 1]
   * @param y of the same shape
   * @return [B, 1, 1, 1]
   */
  public Tensor call(Tensor x, Tensor y) {
    return Scope.run(() -> forward(x, y));
  }

  private Tensor forward(Tensor x, Tensor y) {
    List<Tensor> fx = network.features(x);
    List<Tensor> fy = network.features(y);
    if (fx.isEmpty() || fx.size() != fy.size()) {
      throw new ShapeException(
          "the feature network must give the same maps for both pictures, at least one; got "
              + fx.size()
              + " and "
              + fy.size());
    }
    if (!weights.isEmpty() && weights.size() != fx.size()) {
      throw new ShapeException(
          "there must be one weight per feature map; got "
              + weights.size()
              + " weights and "
              + fx.size()
              + " maps");
    }
    Tensor sum = null;
    for (int i = 0; i < fx.size(); i++) {
      Tensor d = unit(fx.get(i)).sub(unit(fy.get(i))).square(); // [B, C, H, W]
      if (!weights.isEmpty()) {
        d = d.mul(weights.get(i));
      }
      Tensor distance = Num.mean(Num.sum(d, true, 1), true, 2, 3); // [B, 1, 1, 1]
      sum = sum == null ? distance : sum.add(distance);
    }
    return Objects.requireNonNull(sum);
  }

  /** Each place's features divided by their norm. */
  private static Tensor unit(Tensor f) {
    return f.div(Num.sqrt(Num.sum(f.square(), true, 1)).add(EPS));
  }
}
