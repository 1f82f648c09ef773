// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Classifier-free guidance (Ho and Salimans, 2022): the network runs once on a doubled batch,
 * unconditional half first, and the outputs are combined to u + g (c - u). A learned variance, the
 * second half of the channels, stays the conditional one (as in diffusers' DiTPipeline).
 */
public final class Guidance implements Network {
  private final Network network;
  private final Tensor unconditional;
  private final double scale;
  private final double rescale;
  private final double least;
  private final double most;

  /**
   * A guided network.
   *
   * @param network the network
   * @param unconditional one row of conditioning that stands for "none", [1, ...]
   * @param scale g; 1 switches guidance off
   */
  public Guidance(Network network, Tensor unconditional, double scale) {
    this(network, unconditional, scale, 0);
  }

  /**
   * A guided network whose output keeps, in part, the standard deviation of the conditional one
   * (Lin et al., 2023).
   *
   * @param rescale φ: 0 for none, 1 for all of it
   */
  public Guidance(Network network, Tensor unconditional, double scale, double rescale) {
    this(network, unconditional, scale, rescale, 0, Double.POSITIVE_INFINITY);
  }

  private Guidance(
      Network network,
      Tensor unconditional,
      double scale,
      double rescale,
      double least,
      double most) {
    this.network = network;
    this.unconditional = unconditional;
    this.scale = scale;
    this.rescale = rescale;
    this.least = least;
    this.most = most;
  }

  /**
   * The same guidance at times from {@code least} to {@code most} alone; elsewhere the network runs
   * once, with the condition (Kynkäänniemi et al., 2024).
   */
  public Guidance between(double least, double most) {
    if (!(least <= most)) {
      throw new IllegalArgumentException(
          "guidance must go from a time to a later one; got " + least + " to " + most);
    }
    return new Guidance(network, unconditional, scale, rescale, least, most);
  }

  @Override
  public Tensor call(Tensor x, double[] timesteps, @Nullable Tensor condition) {
    if (condition == null) {
      throw new IllegalArgumentException("guidance needs a condition");
    }
    if (scale == 1 || !guided(timesteps)) {
      return network.call(x, timesteps, condition);
    }
    int batch = x.dim(0);
    int[] rows = condition.shape().dims();
    Tensor none = Shaping.contiguous(unconditional.expand(rows));
    double[] twice = Arrays.copyOf(timesteps, 2 * timesteps.length);
    System.arraycopy(timesteps, 0, twice, timesteps.length, timesteps.length);
    Tensor both = network.call(Shaping.concat(0, x, x), twice, Shaping.concat(0, none, condition));
    Tensor u = both.slice(0, 0, batch);
    Tensor c = both.slice(0, batch, 2 * batch);
    int channels = x.dim(1);
    if (c.dim(1) != 2 * channels) {
      return combined(u, c);
    }
    Tensor guided = combined(u.slice(1, 0, channels), c.slice(1, 0, channels));
    return Shaping.concat(1, guided, c.slice(1, channels, 2 * channels));
  }

  private Tensor combined(Tensor u, Tensor c) {
    Tensor guided = u.add(c.sub(u).mul(scale));
    return rescale == 0 ? guided : rescaled(guided, c);
  }

  private boolean guided(double[] timesteps) {
    boolean inside = timesteps[0] >= least && timesteps[0] <= most;
    for (double t : timesteps) {
      if ((t >= least && t <= most) != inside) {
        throw new IllegalArgumentException(
            "guidance from time "
                + least
                + " to "
                + most
                + " needs a batch that is all inside or all outside; got "
                + Arrays.toString(timesteps));
      }
    }
    return inside;
  }

  private Tensor rescaled(Tensor guided, Tensor conditional) {
    int[] axes = new int[guided.rank() - 1];
    Arrays.setAll(axes, i -> i + 1);
    Tensor wanted = Num.std(conditional, 1, true, axes);
    Tensor have = Num.std(guided, 1, true, axes);
    Tensor matched = guided.mul(wanted.div(have));
    return matched.mul(rescale).add(guided.mul(1 - rescale));
  }
}
