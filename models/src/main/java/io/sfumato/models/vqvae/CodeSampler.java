// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Draws maps of codes from a {@link CodePrior}, code after code. */
public final class CodeSampler {
  private CodeSampler() {}

  /**
   * How codes are drawn from logits, in this order: guidance, temperature, top-k, top-p.
   *
   * @param guidance s of classifier-free guidance: logits {@code u + s (c - u)} of those without
   *     class u and with it c; 1 for none
   * @param temperature the logits are divided by it; 0 takes the likeliest code
   * @param topK how many of the likeliest codes may be drawn; 0 for all
   * @param topP the likeliest codes whose probabilities together reach this may be drawn (Holtzman
   *     et al. 2020); 1 for all
   */
  public record Options(double guidance, double temperature, int topK, double topP) {
    /** Checks the values together; the message lists everything wrong. */
    public Options {
      List<String> wrong = new ArrayList<>();
      if (!(guidance >= 0 && guidance <= 1000)) {
        wrong.add("guidance must be 0 to 1000; got " + guidance);
      }
      if (!(temperature >= 0 && temperature <= 1000)) {
        wrong.add("temperature must be 0 to 1000; got " + temperature);
      }
      if (topK < 0) {
        wrong.add("top-k must not be negative; got " + topK);
      }
      if (!(topP > 0 && topP <= 1)) {
        wrong.add("top-p must be above 0, and 1 at most; got " + topP);
      }
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException("sampling of codes: " + String.join("; ", wrong));
      }
    }
  }

  /** No guidance, temperature 1, all codes. */
  public static Options options() {
    return new Options(1, 1, 0, 1);
  }

  /**
   * Draws maps. Keys and values of the codes so far are kept, so that a code costs one position.
   *
   * @param labels [B], I64; {@link CodePrior#noClass} for none
   * @param rng of the draws; the same one draws the same maps
   * @param done is told of each drawn position, with the number of maps
   * @return [B, h, w], I64, on the CPU
   */
  public static Tensor sample(
      CodePrior prior, Tensor labels, Options options, Rng rng, IntConsumer done) {
    return sample(prior, labels, options, rng, done, true);
  }

  /** As above, with the choice to compute all positions anew for each code. */
  static Tensor sample(
      CodePrior prior, Tensor labels, Options options, Rng rng, IntConsumer done, boolean cached) {
    int b = labels.dim(0);
    int length = prior.config().length();
    long[][] drawn = new long[length][b];
    try (Scope scope = Scope.open()) {
      boolean guided = options.guidance != 1;
      Tensor all = guided ? withNoClass(prior, labels) : labels; // [B] or [2 B]
      List<PriorBlock.Cache> caches = cached ? prior.caches(all.dim(0)) : List.of();
      for (int t = 0; t < length; t++) {
        int position = t;
        double[] logits;
        double[] u;
        try (Scope step = Scope.open()) {
          Tensor rows =
              cached
                  ? prior.next(before(drawn, position, all), all, position, caches)
                  : last(prior.logits(prefix(drawn, position, all), all));
          logits = rows.to(Device.CPU).to(DType.F64).toDoubleArray();
          u = rng.step(position).uniform(b).toDoubleArray();
        }
        int k = prior.config().codes();
        for (int i = 0; i < b; i++) {
          double[] row = Arrays.copyOfRange(logits, i * k, (i + 1) * k);
          if (guided) {
            guide(row, Arrays.copyOfRange(logits, (b + i) * k, (b + i + 1) * k), options.guidance);
          }
          drawn[t][i] = draw(row, options, u[i]);
        }
        done.accept(b);
      }
    }
    return maps(drawn, prior.config());
  }

  private static Tensor withNoClass(CodePrior prior, Tensor labels) {
    Tensor none = Tensor.full(labels.spec(), prior.noClass());
    return Shaping.concat(0, labels, none);
  }

  private static Tensor last(Tensor logits) {
    return logits.select(1, logits.dim(1) - 1);
  }

  /** The codes of one position, once more if guidance needs them twice. */
  private static long[] repeated(long[] codes, int rows) {
    long[] all = new long[rows];
    for (int i = 0; i < rows; i++) {
      all[i] = codes[i % codes.length];
    }
    return all;
  }

  private static @Nullable Tensor before(long[][] drawn, int position, Tensor labels) {
    return position == 0
        ? null
        : Tensor.of(repeated(drawn[position - 1], labels.dim(0)), labels.dim(0))
            .to(labels.device());
  }

  private static Tensor prefix(long[][] drawn, int position, Tensor labels) {
    int rows = labels.dim(0);
    long[] values = new long[rows * position];
    for (int t = 0; t < position; t++) {
      long[] codes = repeated(drawn[t], rows);
      for (int i = 0; i < rows; i++) {
        values[i * position + t] = codes[i];
      }
    }
    return Tensor.of(values, rows, position).to(labels.device());
  }

  private static Tensor maps(long[][] drawn, CodePriorConfig config) {
    int b = drawn[0].length;
    long[] values = new long[b * drawn.length];
    for (int t = 0; t < drawn.length; t++) {
      for (int i = 0; i < b; i++) {
        values[i * drawn.length + t] = drawn[t][i];
      }
    }
    return Tensor.of(values, b, config.height(), config.width());
  }

  private static void guide(double[] with, double[] without, double scale) {
    for (int k = 0; k < with.length; k++) {
      with[k] = without[k] + scale * (with[k] - without[k]);
    }
  }

  /**
   * Draws one code.
   *
   * @param logits one per code
   * @param u uniform in [0, 1)
   */
  static int draw(double[] logits, Options options, double u) {
    Integer[] order =
        IntStream.range(0, logits.length)
            .boxed()
            .sorted(Comparator.comparingDouble((Integer k) -> -logits[k])) // stable
            .toArray(Integer[]::new);
    double most = logits[order[0]];
    if (!Double.isFinite(most)) {
      throw new IllegalStateException("sampling of codes: the largest logit is " + most);
    }
    if (options.temperature == 0) {
      return order[0];
    }
    int n = options.topK == 0 ? logits.length : Math.min(options.topK, logits.length);
    double[] weights = new double[n];
    double total = 0;
    for (int i = 0; i < n; i++) {
      weights[i] = Math.exp((logits[order[i]] - most) / options.temperature);
      total += weights[i];
    }
    if (options.topP < 1) {
      double reached = 0;
      int kept = 0;
      while (kept < n && reached < options.topP * total) {
        reached += weights[kept++];
      }
      n = kept;
      total = reached;
    }
    double left = u * total;
    for (int i = 0; i < n - 1; i++) {
      left -= weights[i];
      if (left < 0) {
        return order[i];
      }
    }
    return order[n - 1];
  }
}
