// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Autograd.Pullback;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Layer;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * What autoencoders of latent diffusion are trained on: pixels, features, the latent's regulariser,
 * and a discriminator whose weight keeps its gradient as long as that of the rest (Esser et al.
 * 2021, "Taming Transformers", equation 7; taming-transformers modules/losses/vqperceptual.py, LDM
 * modules/losses/contperceptual.py).
 *
 * <pre>
 * r        = |x - x̂| + perceptual · features(x, x̂)           per pixel; the features' one per sample
 * nll      = Σ (r / exp(logvar) + logvar) / B, or mean r
 * total    = nll + regularizer + λ · factor · g,  g = -mean D(x̂)
 * λ        = weight · |∂nll/∂W| / (|∂g/∂W| + 10⁻⁴), in [0, 10⁴] · weight, W the last layer's weight
 * </pre>
 *
 * <p>The discriminator's loss is {@code factor · ½ (E[max(0, 1 - D(x))] + E[max(0, 1 + D(x̂))])} or
 * {@code factor · ½ (E[softplus(-D(x))] + E[softplus(D(x̂))])}. Before its start neither loss asks
 * the discriminator.
 */
public final class AutoencoderLoss {
  private static final double MAX_WEIGHT = 1e4;
  private static final double EPS = 1e-4;

  /** How pixels are compared. */
  public enum Pixels {
    /** By |x - x̂|, as in the reference. */
    L1,
    /** By (x - x̂)². */
    MSE
  }

  /**
   * The parts' weights.
   *
   * @param pixels how pixels are compared
   * @param perPicture whether nll is the sum over a picture (autoencoders with KL) or the mean over
   *     pixels (with a codebook)
   * @param logvar the logarithm of the variance of pixels, if {@code perPicture}; 0 in the
   *     reference, whose optimiser leaves it there
   * @param perceptualWeight weight of the features' distance
   * @param adversarial what the discriminator minimises: hinge, or non-saturating, which the
   *     reference calls vanilla. The autoencoder minimises -mean D(x̂) with either
   * @param discriminatorWeight factor of the adaptive weight
   * @param discriminatorFactor factor of both adversarial losses
   * @param discriminatorStart step at which they begin
   */
  public record Options(
      Pixels pixels,
      boolean perPicture,
      double logvar,
      double perceptualWeight,
      GanLoss adversarial,
      double discriminatorWeight,
      double discriminatorFactor,
      long discriminatorStart) {

    /** Checks the values; the message lists everything wrong. */
    public Options {
      List<String> wrong = new ArrayList<>();
      check(wrong, "logvar", logvar, Double.NEGATIVE_INFINITY);
      check(wrong, "perceptual_weight", perceptualWeight, 0);
      check(wrong, "disc_weight", discriminatorWeight, 0);
      check(wrong, "disc_factor", discriminatorFactor, 0);
      check(wrong, "disc_start", (double) discriminatorStart, 0);
      if (adversarial == GanLoss.WGAN_GP) {
        wrong.add("disc_loss must be hinge or non-saturating; got " + adversarial.label());
      }
      if (!perPicture && logvar != 0) {
        wrong.add("logvar must be 0 where the loss is a mean over pixels; got " + logvar);
      }
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException("autoencoder loss: " + String.join("; ", wrong));
      }
    }

    private static void check(List<String> wrong, String name, double value, double least) {
      if (!Double.isFinite(value) || value < least) {
        wrong.add(
            name + " must be finite" + (least == 0 ? ", not negative" : "") + "; got " + value);
      }
    }

    /** The reference's loss for autoencoders with KL: sums of |x - x̂| over a picture. */
    public static Options kl() {
      return new Options(Pixels.L1, true, 0, 1, GanLoss.HINGE, 1, 1, 0);
    }

    /** The reference's loss for autoencoders with a codebook: means of |x - x̂| over pixels. */
    public static Options vq() {
      return new Options(Pixels.L1, false, 0, 1, GanLoss.HINGE, 1, 1, 0);
    }

    /** The same with another weight of the features' distance. */
    public Options perceptualWeight(double weight) {
      return new Options(
          pixels,
          perPicture,
          logvar,
          weight,
          adversarial,
          discriminatorWeight,
          discriminatorFactor,
          discriminatorStart);
    }

    /** The same with another comparison of pixels. */
    public Options pixels(Pixels how) {
      return new Options(
          how,
          perPicture,
          logvar,
          perceptualWeight,
          adversarial,
          discriminatorWeight,
          discriminatorFactor,
          discriminatorStart);
    }

    /**
     * The same with another adversarial part.
     *
     * @param kind what the discriminator minimises
     * @param weight factor of the adaptive weight
     * @param start step at which it begins
     */
    public Options adversarial(GanLoss kind, double weight, long start) {
      return new Options(
          pixels, perPicture, logvar, perceptualWeight, kind, weight, discriminatorFactor, start);
    }
  }

  /**
   * The loss of the autoencoder, parts that have one value each.
   *
   * @param total what is differentiated by the autoencoder's parameters
   * @param nll its part from pixels and features
   * @param adversarial g; 0 while the discriminator is not asked
   * @param weight λ · factor; 0 while the discriminator is not asked
   * @param reconstruction x̂ [B, C, H, W]
   */
  public record Parts(
      Tensor total, Tensor nll, Tensor adversarial, Tensor weight, Tensor reconstruction) {}

  private final Options options;
  private final @Nullable PerceptualLoss perceptual;
  private final @Nullable Layer discriminator;

  /**
   * A loss.
   *
   * @param options the parts' weights
   * @param perceptual the comparison of features, or null for none
   * @param discriminator scores of pictures or patches, or null for none
   */
  public AutoencoderLoss(
      Options options, @Nullable PerceptualLoss perceptual, @Nullable Layer discriminator) {
    this.options = options;
    this.perceptual = perceptual;
    this.discriminator = discriminator;
  }

  /** Whether the discriminator takes part at a step. */
  public boolean isAdversarial(long step) {
    return discriminator != null
        && options.discriminatorFactor > 0
        && step >= options.discriminatorStart;
  }

  /**
   * The autoencoder's loss; call it where its parameters are differentiated. The total's gradient
   * by the discriminator's parameters is not defined.
   *
   * @param x pictures [B, C, H, W] in [-1, 1]
   * @param features what the decoder's last layer gets, [B, C0, H, W]
   * @param last the decoder's last layer
   * @param regularizer what is added, weighted already: the mean KL, the codebook's loss
   * @param step the number of steps done
   */
  public Parts autoencoder(Tensor x, Tensor features, Conv2d last, Tensor regularizer, long step) {
    Tensor reconstruction = last.call(features);
    if (discriminator == null || !isAdversarial(step)) {
      Tensor nll = nll(x, reconstruction);
      Tensor none = Tensor.zeros(nll.spec());
      return new Parts(nll.add(regularizer), nll, none, none, reconstruction);
    }
    // λ needs the gradients of both parts by the last layer. Both are taken by x̂, once each; a
    // term
    // that is zero, and whose gradient by x̂ is that of the weighted sum, passes it on.
    Layer judge = discriminator;
    Tensor constant = Autograd.detach(reconstruction);
    Tensor[] parts =
        Autograd.noGrad(
            () -> {
              Pullback nll = slope(y -> nll(x, y), constant);
              Pullback g =
                  slope(y -> Module.training(() -> Num.mean(judge.call(y)).neg()), constant);
              Tensor dNll = nll.gradients().getFirst();
              Tensor dG = g.gradients().getFirst();
              Tensor ratio =
                  lastNorm(features, last, dNll).div(lastNorm(features, last, dG).add(EPS));
              Tensor weight =
                  Num.clamp(ratio, 0, MAX_WEIGHT)
                      .mul(options.discriminatorWeight * options.discriminatorFactor);
              Tensor slope = dNll.add(dG.mul(weight)); // by x̂
              return new Tensor[] {nll.value(), g.value(), weight, slope};
            });
    Tensor value = parts[0].add(parts[1].mul(parts[2]));
    Tensor through = Num.sum(reconstruction.sub(constant).mul(parts[3]));
    Tensor total = through.add(value).add(regularizer);
    return new Parts(total, parts[0], parts[1], parts[2], reconstruction);
  }

  /** Value and gradient of a scalar function. */
  private static Pullback slope(UnaryOperator<Tensor> f, Tensor at) {
    Tensor one = Tensor.full(at.spec().with(Shape.of()), 1);
    return Autograd.vjp(y -> f.apply(y[0]), new Tensor[] {at}, one);
  }

  /** The norm of the gradient by the last layer's weight, from that by its result. */
  private static Tensor lastNorm(Tensor features, Conv2d last, Tensor slope) {
    Tensor bias = last.bias().map(Parameter::value).orElse(null);
    return Scope.run(
        () -> {
          Tensor gradient =
              Autograd.vjp(
                      w -> NN.conv2d(features, w[0], bias, last.options()),
                      new Tensor[] {last.weight().value()},
                      slope)
                  .gradients()
                  .getFirst();
          // Of the whole batch, if this is a share of it.
          return Num.sqrt(Num.sum(BatchShare.current().mean(gradient).square()));
        });
  }

  private Tensor nll(Tensor x, Tensor reconstruction) {
    return Scope.run(
        () -> {
          Tensor difference = x.sub(reconstruction);
          Tensor r = options.pixels == Pixels.L1 ? difference.abs() : difference.square();
          if (perceptual != null && options.perceptualWeight > 0) {
            r = r.add(perceptual.call(x, reconstruction).mul(options.perceptualWeight));
          }
          if (!options.perPicture) {
            return Num.mean(r);
          }
          Tensor scaled = Num.affine(r, Math.exp(-options.logvar), options.logvar);
          return Num.sum(scaled).div(x.dim(0));
        });
  }

  /**
   * The discriminator's loss, to be differentiated by its parameters.
   *
   * @param x pictures [B, C, H, W] in [-1, 1]
   * @param reconstruction x̂; a constant here
   * @param step the number of steps done
   * @throws IllegalStateException if the discriminator takes no part at this step
   */
  public Tensor discriminator(Tensor x, Tensor reconstruction, long step) {
    if (discriminator == null || !isAdversarial(step)) {
      throw new IllegalStateException("the discriminator takes no part at step " + step);
    }
    Layer judge = discriminator;
    return Scope.run(
        () ->
            Module.training(
                () -> {
                  Tensor real = judge.call(x);
                  Tensor fake = judge.call(Autograd.detach(reconstruction));
                  return options
                      .adversarial
                      .discriminator(real, fake)
                      .mul(0.5 * options.discriminatorFactor);
                }));
  }
}
