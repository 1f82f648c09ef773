// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Reduction;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * The variational autoencoder of Kingma and Welling (2013): a prior {@code p(z) = N(0, I)}, a
 * decoder {@code p(x | z)} of Bernoulli or Gaussian pixels, and an encoder {@code q(z | x) = N(μ,
 * diag σ²)}, trained by the lower bound
 *
 * <pre>
 * log p(x) ≥ E_q[log p(x | z)] - KL(q(z | x) || p(z))
 * </pre>
 *
 * <p>of which z = μ + σ ε makes an estimate that can be differentiated. In a class-conditional
 * model (Sohn et al. 2015) everything but the prior depends on a label, too. Pictures are in [0,
 * 1].
 *
 * {@snippet :
 * var vae = new Vae(Weights.init(rng), VaeConfig.builder().numClasses(10).build());
 * Tensor loss = vae.loss(x, labels, rng.fork("noise").normal(x.dim(0), 16)).total();
 * Tensor pictures = vae.sample(labels, rng);
 * }
 */
public final class Vae extends Module {
  private static final double LOG_2_PI = Math.log(2 * Math.PI);

  private final VaeConfig config;
  private final VaeEncoder encoder;
  private final VaeDecoder decoder;
  private final @Nullable Parameter logVariance;

  /**
   * A Gaussian q(z | x) of independent dimensions.
   *
   * @param mean μ [B, latent]
   * @param logVariance log σ² [B, latent]
   */
  public record Posterior(Tensor mean, Tensor logVariance) {
    /** {@code μ + σ ε} for standard normal ε [B, latent]. */
    public Tensor sample(Tensor noise) {
      return mean.add(Num.exp(logVariance.mul(0.5)).mul(noise));
    }

    /** {@code KL(q || N(0, I)) = ½ Σ (μ² + σ² - 1 - log σ²)} in nats, [B]. */
    public Tensor kl() {
      Tensor terms = mean.square().add(Num.exp(logVariance)).sub(1).sub(logVariance);
      return Num.sum(terms, 1).mul(0.5);
    }

    /** {@code log q(z | x)} in nats, [B]. */
    public Tensor logDensity(Tensor z) {
      Tensor squares = z.sub(mean).square().mul(Num.exp(logVariance.neg()));
      return Num.sum(squares.add(logVariance).add(LOG_2_PI), 1).mul(-0.5);
    }
  }

  /**
   * The loss and its parts, scalars in nats per picture.
   *
   * @param total {@code reconstruction + beta kl}; for beta = 1 minus the lower bound
   * @param reconstruction {@code -E[log p(x | z)]}
   * @param kl {@code KL(q(z | x) || p(z))}
   */
  public record Loss(Tensor total, Tensor reconstruction, Tensor kl) {}

  /** A model whose parameters come from {@code weights}. */
  public Vae(Weights weights, VaeConfig config) {
    super(weights);
    this.config = config;
    this.encoder = child("encoder", w -> new VaeEncoder(w, config));
    this.decoder = child("decoder", w -> new VaeDecoder(w, config));
    boolean shared = !config.isBernoulli() && config.variance().equals("shared");
    this.logVariance = shared ? parameter("log_variance", Shape.of(1), Init.zeros()) : null;
  }

  /**
   * Reads a folder that {@link #save} wrote.
   *
   * @throws IllegalArgumentException if the configuration is not valid
   * @throws WeightsException naming what is missing, unused or does not fit
   */
  public static Vae open(Path folder) {
    VaeConfig config = VaeConfig.read(folder.resolve("config.json"));
    try (Weights weights = Weights.open(folder.resolve("model.safetensors"))) {
      Vae vae = new Vae(weights, config);
      try {
        weights.requireAllUsed();
      } catch (WeightsException e) {
        vae.close();
        throw e;
      }
      return vae;
    }
  }

  /** Writes {@code config.json} and {@code model.safetensors} into an existing folder. */
  public void save(Path folder) {
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    SafeTensors.save(folder.resolve("model.safetensors"), stateDict());
  }

  /** The configuration. */
  public VaeConfig config() {
    return config;
  }

  /**
   * q(z | x, y).
   *
   * @param x [B, C, H, W] in [0, 1]
   * @param labels I64 [B], or null if the model has no classes
   * @throws ShapeException if the pictures are not of the configuration's size
   */
  public Posterior encode(Tensor x, @Nullable Tensor labels) {
    Shape wanted = Shape.of(x.dim(0), config.imageChannels(), config.height(), config.width());
    if (!x.shape().equals(wanted)) {
      throw new ShapeException("the pictures must have shape " + wanted + "; got " + x.spec());
    }
    return encoder.call(x, oneHot(labels));
  }

  /**
   * The mean of p(x | z, y): the picture to show.
   *
   * @param z [B, latent]
   * @param labels I64 [B], or null if the model has no classes
   * @return [B, C, H, W]; those of a Gaussian may lie outside of [0, 1]
   */
  public Tensor decode(Tensor z, @Nullable Tensor labels) {
    return Scope.run(
        () -> {
          Tensor y = decoder.call(z, oneHot(labels));
          return config.isBernoulli() ? NN.sigmoid(y) : y.slice(1, 0, config.imageChannels());
        });
  }

  /**
   * Pictures of latents from the prior: {@link #decode} of z ~ N(0, I).
   *
   * @param labels I64 [n], or null if the model has no classes
   * @param n the number of pictures
   * @param rng the source of z
   */
  public Tensor sample(int n, @Nullable Tensor labels, Rng rng) {
    Tensor z = rng.normal(n, config.latentDim());
    return decode(z.to(parameters().getFirst().value().device()), labels);
  }

  /**
   * {@code log p(x | z, y)} in nats: Bernoulli {@code Σ x log p + (1 - x) log(1 - p)}, Gaussian
   * {@code -½ Σ (x - m)²/σ² + log σ² + log 2π}.
   *
   * @return [B]
   */
  public Tensor logLikelihood(Tensor x, Tensor z, @Nullable Tensor labels) {
    return Scope.run(
        () -> {
          Tensor y = decoder.call(z, oneHot(labels)); // [B, C or 2 C, H, W]
          Tensor terms =
              config.isBernoulli()
                  ? NN.bceWithLogits(y, x, Reduction.NONE)
                  : gaussian(x, y).mul(0.5);
          return Num.sum(terms.reshape(x.dim(0), -1), 1).neg();
        });
  }

  private Tensor gaussian(Tensor x, Tensor y) {
    int c = config.imageChannels();
    Tensor squares = x.sub(y.slice(1, 0, c)).square();
    if (logVariance == null && !config.predictsVariance()) {
      double variance = config.sigma() * config.sigma();
      return Num.affine(squares, 1 / variance, Math.log(variance) + LOG_2_PI);
    }
    Tensor raw = logVariance == null ? y.slice(1, c, 2 * c) : logVariance.value();
    double least = config.minLogVariance();
    Tensor s = NN.softplus(raw.sub(least)).add(least); // softly bounded from below
    return squares.mul(Num.exp(s.neg())).add(s).add(LOG_2_PI);
  }

  /**
   * The loss of a batch with one sample of z per picture.
   *
   * @param x [B, C, H, W] in [0, 1]
   * @param labels I64 [B], or null if the model has no classes
   * @param noise standard normal [B, latent]
   */
  public Loss loss(Tensor x, @Nullable Tensor labels, Tensor noise) {
    Posterior q = encode(x, labels);
    Tensor reconstruction = Num.mean(logLikelihood(x, q.sample(noise), labels)).neg();
    Tensor kl = Num.mean(q.kl());
    return new Loss(reconstruction.add(kl.mul(config.beta())), reconstruction, kl);
  }

  /**
   * A lower bound of {@code log p(x | y)} that gets tighter with k (Burda et al. 2016): {@code log
   * 1/k Σ p(x | z) p(z) / q(z | x)} with z from q.
   *
   * @param x [B, C, H, W] in [0, 1]
   * @param labels I64 [B], or null if the model has no classes
   * @param k the number of z per picture
   * @param rng the source of z
   * @return [B] in nats
   */
  public Tensor importanceWeightedBound(Tensor x, @Nullable Tensor labels, int k, Rng rng) {
    if (k < 1) {
      throw new IllegalArgumentException("k must be positive; got " + k);
    }
    Shape one = Shape.of(x.dim(0), config.latentDim());
    TensorSpec spec = new TensorSpec(one, x.dtype(), x.device());
    return bound(x, labels, k, i -> rng.step(i).normal(spec));
  }

  /** As before, with given standard normal noise [k, B, latent]. */
  public Tensor importanceWeightedBound(Tensor x, @Nullable Tensor labels, Tensor noise) {
    return bound(x, labels, noise.dim(0), i -> noise.select(0, i));
  }

  private Tensor bound(Tensor x, @Nullable Tensor labels, int k, IntFunction<Tensor> noise) {
    return Scope.run(
        () -> {
          Posterior q = encode(x, labels);
          Tensor[] logWeights = new Tensor[k];
          for (int i = 0; i < k; i++) {
            int index = i;
            logWeights[i] =
                Scope.run(() -> logWeight(x, labels, q, noise.apply(index)).unsqueeze(0));
          }
          Tensor all = Shaping.concat(0, logWeights); // [k, B]
          return Num.logsumexp(all, 0).sub(Math.log(k));
        });
  }

  /** log p(x | z) + log p(z) - log q(z | x), [B]. */
  private Tensor logWeight(Tensor x, @Nullable Tensor labels, Posterior q, Tensor noise) {
    Tensor z = q.sample(noise);
    Tensor prior = Num.sum(z.square().add(LOG_2_PI), 1).mul(-0.5);
    return logLikelihood(x, z, labels).add(prior).sub(q.logDensity(z));
  }

  private @Nullable Tensor oneHot(@Nullable Tensor labels) {
    Integer classes = config.numClasses();
    if ((classes == null) != (labels == null)) {
      throw new IllegalArgumentException(
          labels == null
              ? "the model has " + classes + " classes; give labels"
              : "the model has no classes; labels must be null");
    }
    if (labels == null || classes == null) {
      return null;
    }
    long[] values = labels.toLongArray();
    float[] ones = new float[values.length * classes];
    for (int i = 0; i < values.length; i++) {
      if (values[i] < 0 || values[i] >= classes) {
        throw new IllegalArgumentException(
            "labels must be in [0, " + classes + "); got " + values[i] + " at " + i);
      }
      ones[i * classes + (int) values[i]] = 1;
    }
    Parameter any = parameters().getFirst();
    DType dtype = any.value().dtype();
    return Tensor.of(ones, values.length, classes).to(dtype).to(any.value().device());
  }
}
