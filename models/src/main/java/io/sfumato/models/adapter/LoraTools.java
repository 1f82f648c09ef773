// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * What is done with finished adapters: taken from the difference of two models, brought to another
 * rank, combined into one. Results are {@link Lora} adapters with scale 1, attached to the model;
 * what they are made of stays as it is.
 */
public final class LoraTools {
  private LoraTools() {}

  /** How several adapters become one. */
  public enum Method {
    /**
     * PEFT's {@code linear}: the factors are added, A with sign(w) √|w s| and B with √|w s|. Ranks
     * must be equal. This is not the sum of the changes: it has cross terms.
     */
    LINEAR,
    /** PEFT's {@code cat}: the factors are stacked; exactly the sum, and the ranks add up. */
    CAT,
    /** PEFT's {@code svd}: the sum, brought to a rank. */
    SVD,
    /**
     * TIES (Yadav et al. 2023, <a href="https://arxiv.org/abs/2306.01708">arXiv:2306.01708</a>) on
     * the changes: the smallest are dropped, signs are elected, those that agree are averaged;
     * brought to a rank.
     */
    TIES,
    /**
     * DARE (Yu et al. 2024, <a href="https://arxiv.org/abs/2311.03099">arXiv:2311.03099</a>):
     * random elements of the changes are dropped, the others divided by what is kept, then summed;
     * brought to a rank.
     */
    DARE
  }

  /**
   * Which rank a change is brought to; never more than its matrix has.
   *
   * @param most the largest rank
   * @param energy the share of ‖ΔW‖² that is kept by the least rank that can, in (0, 1]; null for
   *     {@code most} everywhere
   */
  public record Rank(int most, @Nullable Double energy) {
    /** Checks the values. */
    public Rank {
      if (most < 1) {
        throw new IllegalArgumentException("the rank must be positive; got " + most);
      }
      if (energy != null && !(energy > 0 && energy <= 1)) {
        throw new IllegalArgumentException("the share of energy must be in (0, 1]; got " + energy);
      }
    }

    /** The same rank in all layers. */
    public static Rank of(int rank) {
      return new Rank(rank, null);
    }

    /** As few as keep a share of ‖ΔW‖², layer by layer. */
    public static Rank keeping(double share) {
      return new Rank(Integer.MAX_VALUE, share);
    }

    private int of(double[] singularValues) {
      int all = Math.min(most, singularValues.length);
      if (energy == null) {
        return all;
      }
      double whole = 0;
      for (double s : singularValues) {
        whole += s * s;
      }
      double kept = 0;
      for (int r = 1; r < all; r++) {
        kept += singularValues[r - 1] * singularValues[r - 1];
        // Singular values of rounded factors end in noise, so a share of 1 means all but that.
        if (kept >= energy * whole * (1 - 1e-12)) {
          return r;
        }
      }
      return all;
    }
  }

  /**
   * The difference of two models as an adapter of the first. Layers that do not differ get none.
   *
   * @param original gets the adapter
   * @param tuned a model with the same layers
   * @param targets which layers, of those that {@link Lora} can merge into: grouped convolutions
   *     are left out
   * @param rank which rank
   * @throws IllegalArgumentException if a layer is missing in {@code tuned} or has another shape,
   *     or none differs
   */
  public static AdapterSet extract(
      Module original, Module tuned, Predicate<String> targets, Rank rank) {
    Map<String, Module> others = tuned.modules();
    Map<String, Tensor> factors = new LinkedHashMap<>();
    Map<String, Lora> kinds = new LinkedHashMap<>();
    try (Scope scope = Scope.open()) {
      original
          .modules()
          .forEach(
              (path, module) -> {
                if (module instanceof WeightLayer layer && targets.test(path) && canBeLora(layer)) {
                  if (!(others.get(path) instanceof WeightLayer other)
                      || !other.weight().value().shape().equals(layer.weight().value().shape())) {
                    throw new IllegalArgumentException(
                        path + ": the tuned model has no such layer, or one of another shape");
                  }
                  Tensor change =
                      other
                          .weight()
                          .value()
                          .to(DType.F64)
                          .sub(layer.weight().value().to(DType.F64));
                  if (Num.max(Num.abs(change)).item() != 0) {
                    put(
                        layer,
                        LowRankMath.factorize(flat(layer, change), rank::of),
                        factors,
                        kinds);
                  }
                }
              });
      if (kinds.isEmpty()) {
        throw new IllegalArgumentException(
            "the models do not differ in any linear layer, convolution or embedding that is meant");
      }
      return attach(original, kinds, factors);
    }
  }

  /**
   * An adapter of LoRA's kind at another rank: the best approximation in the least squares sense.
   *
   * @param set LoRA, LoHa, LoKr or another additive adapter
   * @param rank the new rank
   */
  public static AdapterSet resize(Module model, AdapterSet set, Rank rank) {
    return combine(model, List.of(set), List.of(1.0), Method.SVD, rank, Rng.seed(0));
  }

  /**
   * One adapter that does what several do.
   *
   * @param sets adapters of the model
   * @param weights their factors; the strengths that the sets have themselves do not count
   * @param method how
   * @param rank the rank of the result, for those that choose one
   * @param rng for {@link Method#DARE}
   * @throws IllegalArgumentException if numbers differ, or a method cannot take a kind
   */
  public static AdapterSet combine(
      Module model,
      List<AdapterSet> sets,
      List<Double> weights,
      Method method,
      Rank rank,
      Rng rng) {
    if (sets.isEmpty() || sets.size() != weights.size()) {
      throw new IllegalArgumentException(
          sets.size() + " adapters need as many weights; got " + weights.size());
    }
    Set<String> paths = new LinkedHashSet<>();
    sets.forEach(set -> paths.addAll(set.parts().keySet()));
    Map<String, Tensor> factors = new LinkedHashMap<>();
    Map<String, Lora> kinds = new LinkedHashMap<>();
    try (Scope scope = Scope.open()) {
      for (String path : paths) {
        List<AdditiveAdapter> parts = new ArrayList<>();
        List<Double> here = new ArrayList<>();
        for (int i = 0; i < sets.size(); i++) {
          LayerAdapter part = sets.get(i).parts().get(path);
          if (part != null) {
            if (!(part instanceof AdditiveAdapter additive) || !canBeLora(part.layer())) {
              throw new IllegalArgumentException(
                  path
                      + ": only changes that are added to linear layers, convolutions and"
                      + " embeddings combine");
            }
            if (changesBias(sets.get(i).kinds().get(path))) {
              throw new IllegalArgumentException(
                  path + ": an adapter that changes the bias does not combine");
            }
            parts.add(additive);
            here.add(weights.get(i));
          }
        }
        WeightLayer layer = parts.getFirst().layer();
        LowRankMath.Factors result =
            switch (method) {
              case LINEAR -> linear(path, parts, here);
              case CAT -> cat(path, parts, here);
              case SVD -> svd(path, parts, here, rank);
              case TIES -> LowRankMath.factorize(flat(layer, ties(parts, here)), rank::of);
              case DARE ->
                  LowRankMath.factorize(flat(layer, dare(parts, here, rng.fork(path))), rank::of);
            };
        put(layer, result, factors, kinds);
      }
      return attach(model, kinds, factors);
    }
  }

  private static boolean canBeLora(WeightLayer layer) {
    return layer instanceof Linear
        || layer instanceof Embedding
        || (layer instanceof Conv2d c && c.options().groups() == 1);
  }

  /** A change as the matrix [out, in …] that B A gives; an embedding's outputs are its columns. */
  private static Tensor flat(WeightLayer layer, Tensor change) {
    return layer instanceof Embedding ? change.transpose(0, 1) : change.reshape(change.dim(0), -1);
  }

  private static boolean changesBias(@Nullable AdapterKind kind) {
    return (kind instanceof Lora lora && lora.bias())
        || (kind instanceof FullDifference full && full.bias());
  }

  private static void put(
      WeightLayer layer,
      LowRankMath.Factors result,
      Map<String, Tensor> factors,
      Map<String, Lora> kinds) {
    Tensor w = layer.weight().value();
    int r = result.a().dim(0);
    if (layer instanceof Embedding) {
      factors.put(layer.path() + ".lora_embedding_A", result.a().to(w.dtype()));
      factors.put(layer.path() + ".lora_embedding_B", result.b().to(w.dtype()));
      kinds.put(layer.path(), Lora.rank(r));
      return;
    }
    int[] down = w.shape().dims();
    down[0] = r;
    boolean conv = w.rank() == 4;
    Tensor up = conv ? result.b().reshape(w.dim(0), r, 1, 1) : result.b();
    factors.put(layer.path() + ".lora_A.weight", result.a().reshape(down).to(w.dtype()));
    factors.put(layer.path() + ".lora_B.weight", up.to(w.dtype()));
    kinds.put(layer.path(), Lora.rank(r));
  }

  private static AdapterSet attach(
      Module model, Map<String, Lora> kinds, Map<String, Tensor> factors) {
    try (Weights weights = Weights.from(TensorSource.of(factors))) {
      return AdapterSet.attach(
          model,
          kinds::containsKey,
          layer -> Objects.requireNonNull(kinds.get(layer.path())),
          weights);
    }
  }

  private static Tensor delta(AdditiveAdapter part) {
    return part.delta().to(DType.F64);
  }

  private static Tensor sum(List<AdditiveAdapter> parts, List<Double> weights) {
    Tensor sum = delta(parts.getFirst()).mul(weights.getFirst());
    for (int i = 1; i < parts.size(); i++) {
      sum = sum.add(delta(parts.get(i)).mul(weights.get(i)));
    }
    return sum;
  }

  /** The sum at a rank; of plain products without forming them. */
  private static LowRankMath.Factors svd(
      String path, List<AdditiveAdapter> parts, List<Double> weights, Rank rank) {
    if (parts.stream().allMatch(p -> p instanceof Lora.HasProduct lora && lora.isProduct())) {
      LowRankMath.Factors stacked = cat(path, parts, weights);
      return LowRankMath.factorize(stacked.b(), stacked.a(), rank::of);
    }
    WeightLayer layer = parts.getFirst().layer();
    return LowRankMath.factorize(flat(layer, sum(parts, weights)), rank::of);
  }

  private static LowRankMath.Factors linear(
      String path, List<AdditiveAdapter> parts, List<Double> weights) {
    Tensor a = null;
    Tensor b = null;
    for (int i = 0; i < parts.size(); i++) {
      Lora.Product product = product(path, parts.get(i));
      double w = weights.get(i) * product.scale();
      Tensor ofA = product.a().mul(Math.signum(w) * Math.sqrt(Math.abs(w)));
      Tensor ofB = product.b().mul(Math.sqrt(Math.abs(w)));
      if (a != null && a.dim(0) != ofA.dim(0)) {
        throw new IllegalArgumentException(
            path + ": LINEAR needs equal ranks; got " + a.dim(0) + " and " + ofA.dim(0));
      }
      a = a == null ? ofA : a.add(ofA);
      b = b == null ? ofB : b.add(ofB);
    }
    return new LowRankMath.Factors(Objects.requireNonNull(b), Objects.requireNonNull(a), 1);
  }

  private static LowRankMath.Factors cat(
      String path, List<AdditiveAdapter> parts, List<Double> weights) {
    List<Tensor> as = new ArrayList<>();
    List<Tensor> bs = new ArrayList<>();
    for (int i = 0; i < parts.size(); i++) {
      Lora.Product product = product(path, parts.get(i));
      as.add(product.a().mul(weights.get(i) * product.scale()));
      bs.add(product.b());
    }
    return new LowRankMath.Factors(Shaping.concat(1, bs), Shaping.concat(0, as), 1);
  }

  private static Lora.Product product(String path, AdditiveAdapter part) {
    if (part instanceof Lora.HasProduct lora && lora.isProduct()) {
      return lora.product();
    }
    throw new IllegalArgumentException(
        path + ": only LoRA without Tucker core has factors to add or stack; use SVD");
  }

  private static final double DENSITY = 0.5;

  /** Trim to the half of the largest, elect the sign of the sum, average those that agree. */
  private static Tensor ties(List<AdditiveAdapter> parts, List<Double> weights) {
    List<Tensor> trimmed = new ArrayList<>();
    for (int i = 0; i < parts.size(); i++) {
      Tensor change = delta(parts.get(i)).mul(weights.get(i));
      double[] magnitudes = Num.abs(change).toDoubleArray();
      Arrays.sort(magnitudes);
      double least = magnitudes[(int) Math.floor(magnitudes.length * (1 - DENSITY))];
      Tensor keep = Num.cast(Num.ge(Num.abs(change), least), DType.F64);
      trimmed.add(change.mul(keep));
    }
    Tensor total = trimmed.getFirst();
    for (Tensor t : trimmed.subList(1, trimmed.size())) {
      total = total.add(t);
    }
    Tensor elected = Num.sign(total);
    Tensor sum = total.mul(0);
    Tensor count = total.mul(0);
    for (Tensor t : trimmed) {
      Tensor agrees =
          Num.cast(Num.logicalAnd(Num.eq(Num.sign(t), elected), Num.ne(elected, 0)), DType.F64);
      sum = sum.add(t.mul(agrees));
      count = count.add(agrees);
    }
    return sum.div(Num.clamp(count, 1, parts.size()));
  }

  private static Tensor dare(List<AdditiveAdapter> parts, List<Double> weights, Rng rng) {
    Tensor sum = null;
    for (int i = 0; i < parts.size(); i++) {
      Tensor change = delta(parts.get(i)).mul(weights.get(i));
      Tensor draws = rng.step(i).uniform(change.shape().dims()).to(DType.F64).to(change.device());
      Tensor keep = Num.cast(Num.lt(draws, DENSITY), DType.F64);
      Tensor kept = change.mul(keep).div(DENSITY);
      sum = sum == null ? kept : sum.add(kept);
    }
    return Objects.requireNonNull(sum);
  }
}
