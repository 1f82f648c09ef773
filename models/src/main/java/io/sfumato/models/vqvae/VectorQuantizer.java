// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vqvae;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A codebook {@code embedding} [K, D] (van den Oord et al. 2017): vectors are replaced by the
 * nearest code, and gradients pass as if they had not been.
 *
 * <p>With a decay the codebook is made by moving averages (their appendix A.1): of the number of
 * vectors that chose a code, {@code cluster_size} [K], and of their sum, {@code embed_avg} [K, D].
 * These three are buffers, part of the checkpoint. Each code begins as the mean of one vector,
 * itself. Without a decay {@code embedding} is a parameter, drawn to its vectors by the loss.
 */
public final class VectorQuantizer extends Module {
  private final Parameter embedding;
  private final @Nullable Averages averages;
  private final int codes;
  private final double commitment;

  /**
   * What makes the codebook.
   *
   * @param clusterSize moving average of the number of vectors per code [K]
   * @param embedAvg moving average of their sums [K, D]
   * @param decay of both
   * @param epsilon of the smoothing
   * @param revival codes of fewer vectors are replaced
   */
  private record Averages(
      Parameter clusterSize, Parameter embedAvg, double decay, double epsilon, double revival) {}

  /**
   * What becomes of some vectors.
   *
   * @param quantized the codes' vectors [..., D]; its gradient is passed on to the vectors
   * @param codes numbers of codes [...], I64
   * @param loss {@code β |x - sg(c)|²}, plus {@code |sg(x) - c|²} for a codebook that is trained by
   *     it; means over all elements, sg being a constant
   */
  public record Quantized(Tensor quantized, Tensor codes, Tensor loss) {}

  /** A quantiser whose parameters come from {@code weights}. */
  public VectorQuantizer(Weights weights, VqVaeConfig config) {
    super(weights);
    codes = config.codes();
    commitment = config.commitment();
    Shape table = Shape.of(codes, config.codeWidth());
    Init uniform = Init.uniform(1.0 / codes);
    Double decay = config.decay();
    if (decay == null) {
      embedding = parameter("embedding", table, uniform);
      averages = null;
      return;
    }
    embedding = buffer("embedding", table, uniform);
    averages =
        new Averages(
            buffer("cluster_size", Shape.of(codes), Init.ones()),
            buffer("embed_avg", table, (spec, rng) -> embedding.value().add(0)),
            decay,
            config.epsilon(),
            config.revival());
  }

  /** The codebook [K, D]. */
  public Parameter embedding() {
    return embedding;
  }

  /**
   * The nearest code of each vector.
   *
   * @param x [..., D]
   * @return [...], I64
   */
  public Tensor encode(Tensor x) {
    return call(() -> NN.nearestCode(x, embedding.value()));
  }

  /**
   * The vectors of codes.
   *
   * @param numbers [...], I64
   * @return [..., D]
   */
  public Tensor decode(Tensor numbers) {
    return call(() -> NN.embedding(numbers, embedding.value()));
  }

  /**
   * Quantises.
   *
   * @param x [..., D]
   */
  public Quantized call(Tensor x) {
    Tensor numbers = encode(x); // [...]
    Tensor code = decode(numbers); // [..., D]
    Tensor loss = NN.mse(x, Autograd.detach(code)).mul(commitment);
    if (averages == null) {
      loss = loss.add(NN.mse(code, Autograd.detach(x)));
    }
    Tensor through = x.add(Autograd.detach(code.sub(x))); // d through / d x = 1
    return new Quantized(through, numbers, loss);
  }

  /**
   * Moves the codebook after a training step, for a codebook of moving averages; does nothing for
   * one that is trained by the loss. With the counts n and sums s of a batch, {@code N ← γ N + (1 -
   * γ) n}, {@code m ← γ m + (1 - γ) s}, {@code c = m / Ñ} with {@code Ñ = (N + ε) / (ΣN + K ε) ΣN}.
   * The order of all sums is fixed: the result does not depend on the number of threads.
   *
   * <p>Then codes with {@code N} below the threshold of revival are set to vectors that are drawn
   * from the batch, as if each stood for as many of them as the threshold says.
   *
   * @param x the vectors [..., D]
   * @param numbers their codes [...]
   * @param rng draws the vectors of revived codes
   */
  public void update(Tensor x, Tensor numbers, Rng rng) {
    update(x, numbers, 1, rng);
  }

  /**
   * The same for vectors of several batches. Where others compute the rest of each batch ({@link
   * BatchShare}), the codebook moves by the vectors of all, and is the same everywhere.
   *
   * @param x the vectors [..., D], those of one batch behind those of the one before
   * @param numbers their codes [...]
   * @param batches how many there are, of one size
   * @param rng draws the vectors of revived codes
   */
  public void update(Tensor x, Tensor numbers, int batches, Rng rng) {
    Averages a = averages;
    if (a == null || numbers.numel() == 0) {
      return;
    }
    Autograd.noGrad(
        () -> {
          try (Scope scope = Scope.open()) {
            average(a, x, numbers, batches, rng);
            return this;
          }
        });
  }

  private void average(Averages a, Tensor x, Tensor numbers, int batches, Rng rng) {
    int m = Math.toIntExact(numbers.numel());
    Tensor rows = x.reshape(m, x.dim(-1)); // [M, D]
    Tensor chosen = numbers.reshape(m); // [M]
    Tensor one = Tensor.full(rows.spec().with(Shape.of(m)), 1);
    BatchShare share = BatchShare.current();
    Tensor counts = share.sum(Shaping.indexAdd(one, 0, chosen, codes)); // [K]
    Tensor sums = share.sum(Shaping.indexAdd(rows, 0, chosen, codes)); // [K, D]
    Tensor size = a.clusterSize.value();
    Tensor sum = a.embedAvg.value();
    Updates.ema(List.of(size, sum), List.of(counts, sums), a.decay);

    Tensor total = size.sum();
    Tensor smoothed = size.add(a.epsilon).div(total.add(codes * a.epsilon)).mul(total); // [K]
    Tensor table = sum.div(smoothed.unsqueeze(1)); // [K, D]
    if (a.revival > 0) {
      Tensor dead = Num.lt(size, a.revival); // [K]
      Tensor fresh = drawn(rows, batches, share, rng); // [K, D]
      table = Num.where(dead.unsqueeze(1), fresh, table);
      Updates.copy(sum, Num.where(dead.unsqueeze(1), fresh.mul(a.revival), sum));
      Updates.copy(size, Num.where(dead, Tensor.full(size.spec(), a.revival), size));
    }
    Updates.copy(embedding.value(), table);
  }

  /** Vectors of all shares for each code, drawn from all. */
  private Tensor drawn(Tensor rows, int batches, BatchShare share, Rng rng) {
    int m = rows.dim(0);
    long[] wanted = rng.integers(0, (long) m * share.count(), codes).toLongArray();
    double[] mine = new double[codes]; // whether the row is of this share
    int part = m / batches;
    for (int k = 0; k < codes; k++) {
      long inBatch = wanted[k] % ((long) part * share.count());
      mine[k] = inBatch / part == share.index() ? 1 : 0;
      wanted[k] = wanted[k] / ((long) part * share.count()) * part + inBatch % part;
    }
    Tensor fresh = Shaping.indexSelect(rows, 0, Tensor.of(wanted, codes).to(rows.device()));
    if (share.count() == 1) {
      return fresh;
    }
    Tensor own = Tensor.of(mine, rows.dtype(), rows.device(), codes, 1);
    return share.sum(Num.where(Num.gt(own, 0), fresh, Tensor.zeros(fresh.spec())));
  }

  /**
   * How many codes are in use: {@code exp(-Σ p ln p)} with the shares p of the codes among some
   * numbers; from 1 to K.
   *
   * @param numbers [...], I64
   * @return a scalar
   */
  public Tensor perplexity(Tensor numbers) {
    return Autograd.noGrad(
        () ->
            Scope.run(
                () -> {
                  int m = Math.toIntExact(numbers.numel());
                  Tensor one = Tensor.full(embedding.value().spec().with(Shape.of(m)), 1.0 / m);
                  Tensor own = Shaping.indexAdd(one, 0, numbers.reshape(m), codes);
                  Tensor p = BatchShare.current().mean(own); // [K]
                  return p.mul(p.add(1e-10).log()).sum().neg().exp();
                }));
  }
}
