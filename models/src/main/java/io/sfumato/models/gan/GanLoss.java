// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.gan;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * What generator and discriminator minimise, from scores D(x) of real and D(G(z)) of generated
 * pictures, and the penalties on the discriminator's gradient.
 */
public enum GanLoss {
  /**
   * Goodfellow et al. (2014) in the non-saturating form: D minimises {@code E[softplus(-D(x))] +
   * E[softplus(D(G(z)))]}, G {@code E[softplus(-D(G(z)))]}.
   */
  NON_SATURATING,
  /**
   * The hinge loss (Lim and Ye 2017, Miyato et al. 2018): D minimises {@code E[max(0, 1 - D(x))] +
   * E[max(0, 1 + D(G(z)))]}, G {@code -E[D(G(z))]}.
   */
  HINGE,
  /**
   * Wasserstein (Arjovsky et al. 2017): D minimises {@code E[D(G(z))] - E[D(x)]}, G {@code
   * -E[D(G(z))]}; to be used with {@link #gradientPenalty} (Gulrajani et al. 2017).
   */
  WGAN_GP;

  /**
   * The loss of a name: {@code non-saturating}, {@code hinge} or {@code wgan-gp}.
   *
   * @throws IllegalArgumentException if the name is unknown, listing those known
   */
  public static GanLoss parse(String name) {
    for (GanLoss loss : values()) {
      if (loss.label().equals(name)) {
        return loss;
      }
    }
    throw new IllegalArgumentException(
        "the loss must be one of non-saturating, hinge, wgan-gp; got '" + name + "'");
  }

  /** The name: {@code non-saturating}, {@code hinge} or {@code wgan-gp}. */
  public String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /**
   * The discriminator's loss from its scores [B] of real and generated pictures, without penalty.
   */
  public Tensor discriminator(Tensor real, Tensor generated) {
    return switch (this) {
      case NON_SATURATING ->
          Num.mean(NN.softplus(real.neg())).add(Num.mean(NN.softplus(generated)));
      case HINGE ->
          Num.mean(NN.relu(Num.affine(real, -1, 1))).add(Num.mean(NN.relu(generated.add(1))));
      case WGAN_GP -> Num.mean(generated).sub(Num.mean(real));
    };
  }

  /** The generator's loss from the scores [B] of its pictures. */
  public Tensor generator(Tensor generated) {
    return this == NON_SATURATING
        ? Num.mean(NN.softplus(generated.neg()))
        : Num.mean(generated).neg();
  }

  /**
   * {@code E[(|∇ D(x̂)| - 1)²]} at {@code x̂ = t x + (1 - t) G(z)} (Gulrajani et al. 2017), to be
   * multiplied by 10. The gradient is one by x̂, so the penalty's own is of second order.
   *
   * @param real x [B, C, H, W]
   * @param generated G(z), of the same shape
   * @param labels I64 [B], or null if the model has no classes
   * @param t uniform in [0, 1), [B, 1, 1, 1]
   */
  public static Tensor gradientPenalty(
      Discriminator d, Tensor real, Tensor generated, @Nullable Tensor labels, Tensor t) {
    Tensor between = generated.add(t.mul(real.sub(generated)));
    Tensor norm = Num.sqrt(squaredGradient(d, between, labels).add(1e-12)); // finite slope at 0
    return Num.mean(norm.sub(1).square());
  }

  /**
   * R1 (Mescheder et al. 2018): {@code E[|∇ D(x)|²]} at real pictures, to be multiplied by γ/2.
   *
   * @param real x [B, C, H, W]
   * @param labels I64 [B], or null if the model has no classes
   */
  public static Tensor r1(Discriminator d, Tensor real, @Nullable Tensor labels) {
    return Num.mean(squaredGradient(d, real, labels));
  }

  /** {@code |∇ₓ D(x)|²} of each picture, [B]. */
  private static Tensor squaredGradient(Discriminator d, Tensor x, @Nullable Tensor labels) {
    Tensor gradient = Autograd.grad(v -> Num.sum(d.call(v, labels)), x); // [B, C, H, W]
    return Num.sum(gradient.square().reshape(x.dim(0), -1), 1);
  }
}
